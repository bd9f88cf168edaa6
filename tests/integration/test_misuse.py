"""What goes wrong in the first hour: it works, or the error says what to do."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.train import train


def diagonal(size=6, channels=1, ground=None):
    grid = np.eye(size, dtype="float32")[None, None].repeat(channels, axis=1)
    return spconv.from_dense(grid, ground)


def test_a_copied_model_learns_on_its_own():
    model, x = spconv.Linear(3, 2), spconv.Tensor(np.ones((4, 3), "float32"))
    model(x).sum().backward()
    model.zero_grad()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin(x).sum().backward()
        assert twin.weight.grad is not None
        assert model.weight.grad is None


def test_sparse_tensors_can_be_pickled_after_use():
    x = diagonal()
    expected = spconv.SubMConv2d(1, 2, 3, rng=np.random.default_rng(0))(x).features.data
    again = pickle.loads(pickle.dumps(x))
    actual = spconv.SubMConv2d(1, 2, 3, rng=np.random.default_rng(0))(again).features.data
    np.testing.assert_array_equal(actual, expected)


class UnionNet(spconv.Module):
    def __init__(self):
        self.keep = spconv.SubMConv2d(1, 4, 3)
        self.grow = spconv.SparseConv2d(1, 4, 3, padding=1)
        self.down = spconv.SparseConv2d(4, 4, 2, stride=2, indice_key="down")

    def forward(self, x):
        return self.down(functional.add(self.keep(x), self.grow(x), union=True))


def test_an_input_may_be_used_again():
    net, x = UnionNet(), diagonal()
    first = net(x)
    size = len(x.rulebooks._built)
    np.testing.assert_array_equal(net(x).features.data, first.features.data)
    assert len(x.rulebooks._built) == size, "no rulebook is built twice"


def test_layers_are_found_in_dicts_lists_and_sequences():
    class Net(spconv.SparseSequential):
        def __init__(self):
            super().__init__(spconv.SubMConv2d(1, 2, 3, bias=False))
            self.head = spconv.Linear(2, 2, bias=False)
            self.more = {"a": [[spconv.Linear(2, 2, bias=False)]]}
            self.scales = [spconv.Parameter(np.ones(1, "float32"))]

    names = {name for name, _ in Net().named_parameters()}
    assert names == {"0.weight", "head.weight", "more.a.0.0.weight", "scales.0"}


def test_modules_of_ones_own_see_all_channels_behind_a_batchwise_dropout():
    class Double(spconv.Module):
        def forward(self, x):
            return x.replace_feature(x.features * 2)

    net = spconv.SparseSequential(
        spconv.SubMConv2d(1, 8, 3), spconv.BatchwiseDropout(0.5), Double()
    )
    assert net(diagonal()).num_channels == net.eval()(diagonal()).num_channels == 8


def test_plus_is_a_sum_on_equal_sites():
    sites = [[0, i, i] for i in range(6)]
    x = spconv.SparseConvTensor(np.ones((6, 1), "float32"), sites, (6, 6), 1, [2.0])
    total = x + x
    np.testing.assert_array_equal(total.features.data, 2 * x.features.data)
    np.testing.assert_array_equal(total.ground_state.data, [4.0])
    with pytest.raises(ValueError, match=r"different sites.*union=True"):
        x + spconv.SparseConv2d(1, 1, 3, padding=1)(x)
    with pytest.raises(ValueError, match="different grids"):
        x + diagonal(7, ground=[0.0])
    with pytest.raises(ValueError, match="equal channels, got 1 and 2"):
        x + diagonal(channels=2, ground=[0.0, 0.0])
    with pytest.raises(TypeError, match=r"SparseConvTensor \+: .* got SparseConvTensor and int"):
        x + 1


def test_leaf_gradients_are_nobody_elses():
    a, b = spconv.Parameter(np.ones(2)), spconv.Parameter(np.ones(2))
    gradient = np.ones(2)
    (a + b).backward(gradient)
    a.grad *= 0.5
    np.testing.assert_array_equal(b.grad, 1)
    np.testing.assert_array_equal(gradient, 1)


def test_tensors_as_numbers_and_arrays():
    loss = spconv.Tensor(np.float32(0.5))
    assert float(loss) == 0.5
    assert f"{loss:.2f}" == "0.50"
    assert np.argmax(np.asarray(spconv.Tensor([1.0, 3.0, 2.0]))) == 1
    assert not spconv.Tensor(0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": (2,)}, r"bias must have shape \(8,\), got \(2,\)"),
        ({"weight": (25, 1, 8)}, r"weight must have shape \(9, C_in / groups, C_out\)"),
        ({"weight": (9, 8)}, r"weight must have shape"),
    ],
)
def test_parameters_of_other_shapes_are_refused(change, message):
    layer = spconv.SubMConv2d(1, 8, 3)
    for name, shape in change.items():
        setattr(layer, name, spconv.Parameter(np.zeros(shape, "float32")))
    with pytest.raises(ValueError, match=f"SubMConv2d: the {message}"):
        layer(diagonal())


def test_features_assigned_past_the_checks_are_refused():
    x = diagonal()
    with pytest.raises(ValueError, match=r"for each of the N = 6 sites, got shape \(1, 1\)"):
        x.features = spconv.Tensor(np.ones((1, 1), "float32"))
    with pytest.raises(TypeError, match="features must be a floating point array, got list"):
        x.features = ["a"]
    x.features = np.full((6, 1), 2, "float32")
    assert (spconv.ReLU()(x).features.data == 2).all()
    x = diagonal(channels=4, ground=np.zeros(4))
    x.ground_state = spconv.Tensor(np.zeros(1, "float32"))
    with pytest.raises(ValueError, match=r"ground state of shape \(1,\)"):
        spconv.SparseMaxPool2d(2)(x)


def test_sites_are_in_range_even_unchecked():
    with pytest.raises(ValueError, match="outside batch_size"):
        spconv.SparseConvTensor(np.ones((1, 1)), [[0, 90000, 9]], (6, 6), 1, check=False)


def test_huge_dilation_is_refused():
    with pytest.raises(ValueError, match=r"dilation must be smaller than 2\*\*31"):
        spconv.SubMConv2d(1, 1, 3, dilation=2**62)


def test_losses_and_joins_say_what_they_take():
    with pytest.raises(TypeError, match="logits must be a Tensor"):
        functional.cross_entropy(np.zeros((1, 2)), [0])
    with pytest.raises(TypeError, match=r"concat\(\[x, y\]\)"):
        functional.concat(diagonal())


def test_train_wants_the_optimizer_of_its_model():
    model, other = spconv.Linear(2, 2), spconv.Linear(2, 2)
    batches = [(spconv.Tensor(np.eye(2, dtype="float32")), np.array([0, 1]))]
    with pytest.raises(ValueError, match="none of the model's parameters"):
        train(model, batches, spconv.optim.SGD(other.named_parameters(), 0.1), epochs=1)
    with pytest.raises(TypeError, match="optimizer must be a Optimizer, got list"):
        train(model, spconv.optim.SGD(model.named_parameters(), 0.1), batches, epochs=1)


def _convolve_in_child(queue):
    x = spconv.from_dense(np.ones((1, 4, 60, 60), "float32"))
    queue.put(spconv.SubMConv2d(4, 64, 3)(x).features.shape)


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="the system cannot fork"
)
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_can_compute():
    spconv.set_num_threads(2)
    try:
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        _convolve_in_child(queue)
        assert queue.get(timeout=10) == (3600, 64)
        child = context.Process(target=_convolve_in_child, args=(queue,))
        child.start()
        assert queue.get(timeout=30) == (3600, 64)
        child.join(timeout=10)
    finally:
        spconv.set_num_threads(None)
