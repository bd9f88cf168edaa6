"""Parameters and layers in several places: PyTorch's states have them once for each of them."""

import numpy as np
import pytest

import spconv
from spconv.porting import from_pytorch, to_pytorch


class Tied(spconv.Module):
    """One weight in two layers, one layer in a list and behind it, one array of two names."""

    def __init__(self):
        self.a, self.b = spconv.Linear(3, 2), spconv.Linear(3, 2)
        self.b.weight = self.a.weight
        self.norms = [spconv.BatchNorm(2), spconv.SparseSequential(spconv.BatchNorm(2))]
        self.last = self.norms[1]
        self.scales = [spconv.Parameter(np.ones(2)), spconv.Parameter(np.ones(3))]
        self.scale = self.scales[1]


@pytest.fixture
def theirs():
    rng = np.random.default_rng(0)
    matrix, scale = rng.standard_normal((2, 3)), rng.standard_normal(3)
    state = {"a.weight": matrix, "a.bias": rng.standard_normal(2), "b.weight": matrix.copy()}
    state |= {"b.bias": rng.standard_normal(2), "scales.0": np.zeros(2)}
    state |= {"scales.1": scale, "scale": scale.copy()}
    for name in ("weight", "bias", "running_mean", "running_var"):
        array = rng.random(2)
        state |= {f"norms.0.{name}": rng.random(2), f"norms.1.0.{name}": array}
        state |= {f"last.0.{name}": array.copy()}
    return state | {"norms.1.0.num_batches_tracked": 3, "last.0.num_batches_tracked": 3}


SECOND = {"b.weight", "last.0.weight", "last.0.bias", "last.0.running_mean", "last.0.running_var"}
SECOND |= {"scale"}


@pytest.mark.parametrize("strict", [True, False])
def test_further_places_of_the_same_are_taken_as_one(theirs, strict):
    net = Tied()
    further = theirs.keys() - net.state_dict().keys()
    assert {path for path in further if "tracked" not in path} == SECOND
    converted = from_pytorch(theirs, net, strict=strict)
    assert net.load_state_dict(converted) == ([], [])
    for path, array in to_pytorch(net).items():
        np.testing.assert_array_equal(array, theirs[path])


def test_one_of_the_places_is_enough(theirs):
    """Files that drop what is there twice do not all keep the first."""
    net = Tied()
    firsts = {"a.weight", "scales.1", *(p for p in theirs if p.startswith("norms.1."))}
    converted = from_pytorch({p: v for p, v in theirs.items() if p not in firsts}, net)
    assert net.load_state_dict(converted) == ([], [])
    for path, array in to_pytorch(net).items():
        np.testing.assert_array_equal(array, theirs[path])


def test_not_a_number_is_the_same_everywhere(theirs):
    theirs["scales.1"][0] = theirs["scale"][0] = np.nan
    assert np.isnan(from_pytorch(theirs, Tied())["scales.1"][0])


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("path", sorted(SECOND))
def test_different_values_of_one_are_an_error(theirs, path, strict):
    theirs[path] = theirs[path] + 1
    message = rf"from_pytorch: \S+ and {path} are one in this Tied, got different values; leave out"
    with pytest.raises(ValueError, match=message):
        from_pytorch(theirs, Tied(), strict=strict)


def test_what_does_not_fit_is_named_by_its_own_path(theirs):
    theirs |= {"b.weight": np.ones((3, 2)), "last.1.weight": np.ones(2), "b": np.ones(2)}
    with pytest.raises(ValueError, match="does not fit") as caught:
        from_pytorch(theirs, Tied())
    for words in (
        "unexpected last.1.weight",
        "unexpected b;",
        "b.weight has shape (3, 2), expected (2, 3)",
    ):
        assert words in str(caught.value)
    assert "missing" not in str(caught.value)
    with pytest.raises(ValueError, match=r"unexpected 0; unexpected \(1, 2\); .*rename"):
        from_pytorch({**theirs, 0: np.ones(2), (1, 2): np.ones(2)}, Tied())
    del theirs["a.weight"], theirs["b.weight"]
    with pytest.raises(ValueError, match=r"missing a\.weight"):
        from_pytorch(theirs, Tied())


class Table(spconv.Module):
    """A matrix of the user's own, which is another layer's weight as well."""

    def __init__(self, matrix):
        self.matrix = matrix


def tied(first, head):
    """Of a network with both, the path of the one that comes first, which the state has."""
    parts = {"table": Table(head.weight), "head": head}
    net = spconv.SparseSequential({name: parts[name] for name in sorted(parts, key=first.__ne__)})
    [path] = net.state_dict()
    assert path.startswith(first)
    return net, path


@pytest.mark.parametrize("first", ["table", "head"])
def test_a_matrix_that_is_a_layers_weight_too_is_laid_out_as_the_layers(first):
    matrix = np.arange(9.0).reshape(3, 3)
    net, path = tied(first, spconv.Linear(3, 3, bias=False))
    both = {"table.matrix": matrix, "head.weight": matrix.copy()}
    for given in (both, {"table.matrix": matrix}, {"head.weight": matrix}):
        state = from_pytorch(given, net)
        np.testing.assert_array_equal(state[path], matrix.T)
    net.load_state_dict(state)
    theirs = to_pytorch(net)
    assert theirs.keys() == {path}
    np.testing.assert_array_equal(theirs[path], matrix)
    with pytest.raises(ValueError, match=r"table\.matrix and head\.weight are one"):
        from_pytorch({"table.matrix": matrix, "head.weight": matrix.T}, net)


@pytest.mark.parametrize("first", ["table", "head"])
@pytest.mark.parametrize("layout", ["KRSC", "RSCK", "RSKC", "KCRS"])
def test_the_same_of_a_convolution(first, layout):
    conv = spconv.SubMConv2d(2, 3, (3, 1), bias=False)
    net, path = tied(first, conv)
    theirs = to_pytorch(net, layout)[path]
    assert theirs.ndim == 4
    state = from_pytorch({"table.matrix": theirs, "head.weight": theirs}, net, layout)
    np.testing.assert_array_equal(state[path], conv.weight.data)


def test_a_matrix_of_the_network_itself():
    net = Table(spconv.Parameter(np.zeros((2, 2))))
    net.head = spconv.Linear(2, 2, bias=False)
    net.head.weight = net.matrix
    matrix = np.arange(4.0).reshape(2, 2)
    net.load_state_dict(from_pytorch({"matrix": matrix, "head.weight": matrix}, net))
    np.testing.assert_array_equal(net.head.weight.data, matrix.T)
    np.testing.assert_array_equal(to_pytorch(net)["matrix"], matrix)


def test_a_matrix_in_a_list_is_laid_out_as_the_layers():
    net = spconv.SparseSequential(spconv.Linear(2, 3, bias=False))
    net.matrices = {"of": [net[0].weight]}
    matrix = np.arange(6.0).reshape(3, 2)
    state = from_pytorch({"matrices.of.0": matrix}, net)
    np.testing.assert_array_equal(state[next(iter(net.state_dict()))], matrix.T)


def test_every_layer_reads_its_own_place():
    """A weight of two kernels, which are not laid out alike."""
    net = spconv.SparseSequential(
        *(spconv.SubMConv2d(2, 2, k, bias=False) for k in [(3, 1), (1, 3)])
    )
    net[1].weight = net[0].weight
    weight = np.random.default_rng(0).standard_normal((2, 3, 1, 2))
    state = from_pytorch({"0.weight": weight, "1.weight": weight.swapaxes(1, 2)}, net)
    np.testing.assert_array_equal(state["0.weight"], weight[:, :, 0].transpose(1, 2, 0))


def test_a_network_that_holds_itself_has_an_end():
    net = spconv.SparseSequential(spconv.Linear(2, 3))
    net[0].whole = net
    plain = {"0.weight": np.ones((3, 2)), "0.bias": np.zeros(3)}
    with pytest.raises(ValueError, match=r"unexpected 0\.whole\.0\.whole\.other"):
        from_pytorch({**plain, "0.whole.0.whole.other": np.ones(1)}, net)
    state = from_pytorch({**plain, "0.whole.0.bias": np.zeros(3)}, net)
    assert state.keys() == plain.keys()


def test_of_torch():
    torch = pytest.importorskip("torch")
    a, b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    b.weight = a.weight
    there = torch.nn.Sequential(a, b, torch.nn.BatchNorm1d(4), a)
    linear = spconv.Linear(4, 4)
    here = spconv.SparseSequential(linear, spconv.Linear(4, 4), spconv.BatchNorm(4), linear)
    here[1].weight = linear.weight
    here.load_state_dict(from_pytorch(there.state_dict(), here))
    x = np.random.default_rng(0).standard_normal((5, 4)).astype("float32")
    expected = there.eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(here.eval()(spconv.Tensor(x)).data, expected, rtol=1e-5, atol=1e-6)
