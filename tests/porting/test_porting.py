"""Networks of the other spconv give here what they gave there."""

from pathlib import Path

import numpy as np
import pytest

import spconv
from spconv.porting import from_pytorch, to_pytorch


class UNet(spconv.Module):
    def __init__(self):
        self.stem = spconv.SparseSequential(
            spconv.SubMConv3d(3, 4, 3, indice_key="same"),
            spconv.BatchNorm(4),
            spconv.LeakyReLU(0.1),
        )
        self.down = spconv.SparseConv3d(4, 4, (2, 3, 2), 2, indice_key="down")
        self.up = spconv.SparseInverseConv3d(4, 4, (2, 3, 2), indice_key="down")
        self.head = spconv.Linear(4, 4)

    def forward(self, x):
        return self.head(self.up(self.down(self.stem(x))))


class Generator(spconv.Module):
    def __init__(self):
        self.layers = [
            spconv.SparseConv3d(3, 4, 3, stride=2, padding=1, bias=False),
            spconv.SparseConvTranspose3d(4, 2, (3, 2, 2), stride=2),
        ]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Grid(spconv.Module):
    def __init__(self):
        self.sparse = spconv.SubMConv3d(3, 2, (1, 3, 1))
        self.dense = spconv.Conv3d(2, 3, (2, 3, 1))
        self.norm = spconv.BatchNorm(3)

    def forward(self, x):
        return self.norm(self.dense(self.sparse(x).dense()))


def pointwise():
    return spconv.SparseSequential(
        spconv.SubMConv3d(3, 4, 1), spconv.SparseConv3d(4, 5, 1), spconv.SparseConv3d(5, 2, 1, 2)
    )


NETWORKS = {"unet": UNet, "generator": Generator, "grid": Grid, "pointwise": pointwise}


@pytest.fixture(scope="module")
def theirs():
    """``make_expected.py`` wrote it with torch 2.13 and spconv 2.3.8."""
    with np.load(Path(__file__).with_name("expected.npz")) as file:
        return dict(file)


def state_of(theirs, name):
    prefix = f"{name}/state/"
    return {k.removeprefix(prefix): v for k, v in theirs.items() if k.startswith(prefix)}


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        (name, layout)
        for name in NETWORKS
        for layout in ("KRSC", "RSCK", "RSKC")
        if (name, layout) != ("pointwise", "RSCK")  # is of its own, see the next test
    ],
)
def test_a_converted_network_gives_what_it_gave_there(theirs, name, layout):
    net, state = NETWORKS[name](), state_of(theirs, name)
    for path, weight in state.items():
        if weight.ndim == 5 and path != "dense.weight":
            order = {"KRSC": (0, 1, 2, 3, 4), "RSCK": (1, 2, 3, 4, 0), "RSKC": (1, 2, 3, 0, 4)}
            state[path] = weight.transpose(order[layout])
    converted = from_pytorch(state, net, layout)
    assert net.load_state_dict(converted) == ([], [])
    x = spconv.SparseConvTensor(theirs["features"], theirs["indices"], (5, 6, 4), 2)
    y = net.eval()(x)
    y = y.dense() if isinstance(y, spconv.SparseConvTensor) else y
    np.testing.assert_allclose(y.data, theirs[f"{name}/output"], rtol=1e-6, atol=1e-6)


def test_size_1_is_multiplied_by_its_memory():
    """That of RSCK is as its shape says; spconv 2 reads that of the others in the same way."""
    net, matrix = spconv.SubMConv3d(2, 3, 1, bias=False), np.arange(6.0).reshape(2, 3)
    for layout, shape in (("RSCK", (1, 1, 1, 2, 3)), ("RSKC", (1, 1, 1, 3, 2))):
        state = from_pytorch({"weight": matrix.reshape(shape)}, net, layout)
        np.testing.assert_array_equal(state["weight"], matrix[None])
    strided = spconv.SparseConv3d(2, 3, 1, stride=2, bias=False)
    state = from_pytorch({"weight": matrix.T.reshape(3, 1, 1, 1, 2)}, strided)
    np.testing.assert_array_equal(state["weight"], matrix[None])


def test_what_is_returned_is_a_copy(theirs):
    state = state_of(theirs, "unet")
    converted = from_pytorch(state, UNet())
    assert "stem.1.num_batches_tracked" in state
    assert "stem.1.num_batches_tracked" not in converted
    for path, array in converted.items():
        assert array.flags.c_contiguous
        assert array.dtype == np.float32
        assert not np.shares_memory(array, state[path])


def test_a_file_of_arrays_is_a_state(theirs, tmp_path):
    state, net = state_of(theirs, "unet"), UNet()
    np.savez(tmp_path / "theirs.npz", **state)
    with np.load(tmp_path / "theirs.npz") as file:
        converted = from_pytorch(file, net)
    np.testing.assert_array_equal(converted["head.weight"], state["head.weight"].T)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (spconv.SubMConv1d(2, 3, 5), (3, 5, 2)),
        (spconv.SparseConv2d(2, 3, (2, 5)), (3, 2, 5, 2)),
        (spconv.SubMConv4d(2, 3, (1, 3, 1, 5)), (3, 1, 3, 1, 5, 2)),
        (spconv.SparseConv2d(4, 6, 3, groups=2), (6, 3, 3, 2)),
    ],
)
def test_every_offset_goes_to_its_place(layer, shape):
    weight = np.random.default_rng(0).standard_normal(shape)
    state = {"weight": weight, "bias": np.zeros(shape[0])}
    here = from_pytorch(state, layer)["weight"]
    for k, offset in enumerate(np.ndindex(shape[1:-1])):
        np.testing.assert_array_equal(here[k], weight[(slice(None), *offset)].T)


def torch_conv_transpose(x, weight, bias, stride):
    """As torch.nn's ConvTranspose documents it: weight (in, out, *kernel), no padding."""
    kernel = weight.shape[2:]
    shape = [(n - 1) * stride + k for n, k in zip(x.shape[2:], kernel, strict=True)]
    out = np.zeros((len(x), weight.shape[1], *shape))
    for site in np.ndindex(x.shape[2:]):
        block = [slice(stride * i, stride * i + k) for i, k in zip(site, kernel, strict=True)]
        out[(..., *block)] += np.tensordot(x[(..., *site)], weight, (1, 0))
    return out + bias.reshape(-1, *[1] * len(kernel))


@pytest.mark.parametrize("channels", [(3, 3), (2, 3)])
@pytest.mark.parametrize("kernel", [(2, 3), (3, 1, 2)])
def test_transposed_convolutions_of_grids_have_the_inputs_first(kernel, channels):
    rng = np.random.default_rng(0)
    layer = getattr(spconv, f"ConvTranspose{len(kernel)}d")(*channels, kernel, stride=2)
    weight, bias = rng.standard_normal((*channels, *kernel)), rng.standard_normal(channels[1])
    layer.load_state_dict(from_pytorch({"weight": weight, "bias": bias}, layer))
    x = rng.standard_normal((2, channels[0], 4, 3, 2)[: 2 + len(kernel)])
    expected = torch_conv_transpose(x, weight, bias, stride=2)
    np.testing.assert_allclose(layer(spconv.Tensor(x)).data, expected, atol=1e-12)


def dense(dense_layers=(spconv.Conv2d, spconv.ConvTranspose2d)):
    down, up = dense_layers
    return spconv.SparseSequential(
        down(3, 4, (2, 3), rng=np.random.default_rng(1)), up(4, 5, (1, 3), stride=2)
    )


@pytest.mark.parametrize("layout", ["KRSC", "RSCK", "RSKC", "KCRS"])
@pytest.mark.parametrize("make", [*NETWORKS.values(), dense], ids=lambda make: make.__name__)
def test_there_and_back(make, layout):
    net = make()
    there = to_pytorch(net, layout)
    back = from_pytorch(there, net, layout)
    for path, array in net.state_dict().items():
        np.testing.assert_array_equal(back[path], array)
    again = make()
    again.load_state_dict(back)
    for path, array in to_pytorch(again, layout).items():
        np.testing.assert_array_equal(array, there[path])
        assert array.flags.c_contiguous


@pytest.mark.parametrize("name", NETWORKS)
def test_what_came_from_there_goes_there_as_it_was(theirs, name):
    net, state = NETWORKS[name](), state_of(theirs, name)
    net.load_state_dict(from_pytorch(state, net))
    for path, array in to_pytorch(net).items():
        np.testing.assert_array_equal(array, state[path])


def test_torch_computes_the_same_with_it():
    torch = pytest.importorskip("torch")
    net = dense((spconv.SparseConv2d, spconv.SparseConvTranspose2d))
    dense_net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, (2, 3)), torch.nn.ConvTranspose2d(4, 5, (1, 3), stride=2)
    )
    state = {k: torch.from_numpy(v) for k, v in to_pytorch(net, "KCRS").items()}
    dense_net.load_state_dict(state)
    grid = np.random.default_rng(0).standard_normal((2, 3, 6, 7)).astype("float32")
    expected = dense_net(torch.from_numpy(grid)).detach().numpy()
    np.testing.assert_allclose(net(spconv.from_dense(grid)).dense().data, expected, atol=1e-5)


def test_normalizations_stay_as_they_are():
    norms = spconv.LayerNorm(3), spconv.GroupNorm(1, 3), spconv.InstanceNorm(3)
    net = spconv.SparseSequential(spconv.Linear(2, 3), *norms)
    theirs = {"0.weight": np.ones((3, 2)), "0.bias": np.zeros(3)}
    for place in (1, 2, 3):
        theirs |= {f"{place}.weight": np.arange(3.0) + place, f"{place}.bias": np.arange(4.0, 7)}
    net.load_state_dict(from_pytorch(theirs, net))
    for place, norm in enumerate(norms, 1):
        np.testing.assert_array_equal(norm.weight.data, theirs[f"{place}.weight"])
        np.testing.assert_array_equal(norm.bias.data, theirs[f"{place}.bias"])


def test_named_sequences_have_the_names_they_have_there():
    layers = {"linear": spconv.Linear(2, 3), "norm": spconv.BatchNorm(3), "relu": spconv.ReLU()}
    net, plain = spconv.SparseSequential(layers), spconv.BatchNorm(3).state_dict()
    theirs = {"linear.weight": np.ones((3, 2)), "linear.bias": np.arange(3.0)}
    theirs |= {f"norm.{name}": array for name, array in plain.items()}
    assert net.load_state_dict(from_pytorch(theirs, net)) == ([], [])
    np.testing.assert_array_equal(net["linear"].bias.data, theirs["linear.bias"])


def test_parameters_of_ones_own_stay_as_they_are():
    class Own(spconv.Module):
        def __init__(self):
            self.weight = spconv.Parameter(np.zeros((2, 2)))

    matrix = np.arange(4.0).reshape(2, 2)
    np.testing.assert_array_equal(from_pytorch({"weight": matrix}, Own())["weight"], matrix)


def test_what_has_a_place(theirs):
    class Other(UNet):
        def __init__(self):
            super().__init__()
            self.head = None
            self.classifier = spconv.Linear(4, 7)

    state, net = state_of(theirs, "unet"), Other()
    with pytest.raises(
        ValueError,
        match=r"does not fit this Other: missing classifier.weight; missing classifier.bias; "
        r"unexpected head.weight; unexpected head.bias; rename .* strict=False takes over",
    ):
        from_pytorch(state, net)
    converted = from_pytorch(state, net, strict=False)
    assert net.load_state_dict(converted, strict=False).missing_keys == [
        "classifier.weight",
        "classifier.bias",
    ]


def test_all_shapes_that_do_not_fit_are_named():
    net = spconv.SparseSequential(spconv.SubMConv3d(4, 8, 3), spconv.Linear(8, 2))
    state = {
        "0.weight": np.zeros((3, 3, 3, 4, 8)),
        "0.bias": np.zeros(4),
        "1.weight": np.zeros((8, 2)),
        "1.bias": np.zeros(2),
    }
    with pytest.raises(ValueError, match="from_pytorch: the state does not fit") as caught:
        from_pytorch(state, net)
    for words in (
        "0.weight has shape (3, 3, 3, 4, 8), which is that of layout='RSCK', expected "
        "(8, 3, 3, 3, 4)",
        "0.bias has shape (4,), expected (8,)",
        "1.weight has shape (8, 2), expected (2, 8)",
    ):
        assert words in str(caught.value)
    with pytest.raises(ValueError, match=r"0.weight has shape \(27, 4, 8\), expected"):
        from_pytorch({**state, "0.weight": np.zeros((27, 4, 8))}, net)


class OnAGpu:
    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1],), TypeError, "from_pytorch: expected a dict"),
        (({"weight": OnAGpu()},), TypeError, r"cannot read weight, .*OnAGpu: can't.*\.cpu\(\)"),
        (({"weight": {"a": 1}},), TypeError, "weight must be an array of numbers, got dict; pass"),
        (({}, spconv.ReLU), TypeError, "model must be a Module, got type"),
        (
            ({}, spconv.ReLU(), "CKRS"),
            ValueError,
            r"one of \['KRSC', 'RSCK', 'RSKC', 'KCRS'\], got 'CKRS'",
        ),
        (({}, spconv.ReLU(), ["KRSC"]), ValueError, r"layout must be one of .*, got \['KRSC'\]"),
    ],
)
def test_errors(arguments, error, message):
    if len(arguments) > 1:
        with pytest.raises(error, match=f"to_pytorch: .*{message}"):
            to_pytorch(*arguments[1:])
    state, model, *layout = (*arguments, spconv.Linear(2, 2))[: max(2, len(arguments))]
    with pytest.raises(error, match=message):
        from_pytorch(state, model, *layout)


@pytest.mark.parametrize(("inputs", "size"), [(3, 3), (4, 3), (2, 1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_dense_network_there_becomes_a_sparse_one(inputs, size, transposed):
    """Also where the kernel is as wide as it has input channels."""
    rng = np.random.default_rng(0)
    dense, sparse = (
        (spconv.ConvTranspose2d, spconv.SparseConvTranspose2d)
        if transposed
        else (spconv.Conv2d, spconv.SparseConv2d)
    )
    shape = (inputs, 6, size, size) if transposed else (6, inputs, size, size)
    state = {"0.weight": rng.standard_normal(shape), "0.bias": rng.standard_normal(6)}
    grid, net = (spconv.SparseSequential(kind(inputs, 6, size)) for kind in (dense, sparse))
    grid.load_state_dict(from_pytorch(state, grid))
    net.load_state_dict(from_pytorch(state, net, "KCRS"))
    x = spconv.from_dense(
        rng.standard_normal((2, inputs, 7, 7)) * (rng.random((2, 1, 7, 7)) < 0.3),
        ground_state=np.zeros(inputs),
    )
    np.testing.assert_allclose(net(x).dense().data, grid(x.dense()).data, rtol=1e-12, atol=1e-12)
