"""The tape itself: what it keeps, when it lets go, and that it never writes to a gradient."""

import gc
import threading
import weakref

import numpy as np
import pytest

import spconv
from spconv import Parameter, Tensor, autograd, functional
from spconv.autograd import record
from spconv.testing import random_sparse_tensor


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


@pytest.fixture
def no_collector():
    gc.disable()
    yield
    gc.enable()


def test_a_second_backward_raises():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(
        RuntimeError, match=r"consumed by an earlier backward .* forward pass again"
    ):
        y.backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_a_shared_part_is_consumed_by_the_first_backward():
    x = leaf(1.0, 2.0)
    shared = x * x
    first, second = shared.sum(), (shared * 2).sum()
    first.backward()
    with pytest.raises(RuntimeError, match="consumed"):
        second.backward()
    np.testing.assert_array_equal(x.grad, [2, 4])


def test_a_leaf_is_never_consumed():
    x = leaf(1.0)
    x.backward()
    x.backward()
    np.testing.assert_array_equal(x.grad, [2])


def test_deep_chains_need_no_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(5000):
        y = y + 1.0
    y.backward()
    np.testing.assert_array_equal(x.grad, [1])
    y = x
    for _ in range(50_000):
        y = -y
    del y  # freeing a graph that was never used


def test_a_graph_of_diamonds_is_walked_once_per_node():
    x = leaf(1.0)
    y = x
    for _ in range(60):  # 2**60 paths
        y = y + y
    y.backward()
    np.testing.assert_array_equal(x.grad, [2.0**60])


def test_consumers_come_before_their_inputs():
    """The old result is used again, last."""
    order = []

    def step(name, *inputs):
        def backward(gradient):
            order.append(name)
            return (gradient,) * len(inputs)

        return record(sum(t.data for t in inputs), inputs, backward)

    x = leaf(1.0)
    a = step("a", x)
    b = step("b", a)
    c = step("c", b)
    d = step("d", c, a)
    step("e", b, d, a).backward()
    assert order == ["e", "d", "c", "b", "a"]
    np.testing.assert_array_equal(x.grad, [4])


def test_the_gradient_that_comes_in_is_not_touched():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    gradient = np.array([1.0, 10.0])
    y = a + b  # both borrow the same array
    (y + y + a).backward(gradient)
    np.testing.assert_array_equal(gradient, [1, 10])
    np.testing.assert_array_equal(a.grad, [3, 30])
    np.testing.assert_array_equal(b.grad, [2, 20])
    np.testing.assert_array_equal(gradient, [1, 10])


def test_a_gradient_that_two_leaves_share_is_not_added_to_in_place():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    gradient = np.array([1.0, 10.0])
    (a + b).backward(gradient)
    for tensor, expected in [(a, [2, 20]), (a, [3, 30]), (b, [2, 20])]:
        tensor.backward(gradient)
        np.testing.assert_array_equal(tensor.grad, expected)
    np.testing.assert_array_equal(a.grad, [3, 30])
    np.testing.assert_array_equal(gradient, [1, 10])


@pytest.fixture
def frozen(monkeypatch):
    """Every array that goes onto the tape, and every gradient, refuses to be written to."""

    def freeze(array):
        if array is None:
            return None
        view = np.asarray(array).view()
        view.flags.writeable = False
        return view

    class FrozenNode(autograd.Node):
        __slots__ = ()

        def __init__(self, parents, backward, data, *used):
            def strict(gradient):
                before = gradient.copy()
                results = [freeze(result) for result in backward(freeze(gradient))]
                np.testing.assert_array_equal(gradient, before)
                return results

            super().__init__(parents, backward and strict, data, *used)

    as_floating = autograd.as_floating
    monkeypatch.setattr(autograd, "as_floating", lambda array: freeze(as_floating(array)))
    monkeypatch.setattr(autograd, "Node", FrozenNode)


class EveryOperation(spconv.Module):
    """Forks and joins, so that gradients are shared between consumers."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.stem = spconv.SubMConv2d(3, 4, 3, rng=rng)
        self.norm = spconv.BatchNorm(4)
        self.all = spconv.BatchNorm(4, statistics="all")
        self.down = spconv.SparseConv2d(4, 4, 2, stride=2, indice_key="down", rng=rng)
        self.up = spconv.SparseInverseConv2d(4, 4, 2, indice_key="down", rng=rng)
        self.transpose = spconv.SparseConvTranspose2d(4, 4, 2, stride=2, groups=2, rng=rng)
        self.pools = [spconv.SparseMaxPool2d(2), spconv.SparseAvgPool2d(2)]
        self.drop = [spconv.Dropout(0.3, rng=rng), spconv.BatchwiseDropout(0.5, rng=rng)]
        self.dense = [spconv.Conv2d(4, 2, 3, padding=1, rng=rng), spconv.MaxPool2d(2)]
        self.linear = spconv.Linear(4, 2, rng=rng)
        self.heads = [spconv.SparseGlobalMaxPool(), spconv.SparseGlobalAvgPool()]

    def forward(self, x):
        stem = self.stem(x)
        y = functional.add(spconv.ReLU()(stem), stem)
        y = functional.add(self.norm(y), functional.sigmoid(self.all(stem)))
        down = functional.leaky_relu(self.down(y))
        y = functional.add(self.up(down), self.drop[0](y))
        y = functional.add(y, self.transpose(self.drop[1](down)), union=True)
        pooled = functional.add(self.pools[0](y), self.pools[1](y))
        joined = self.linear(functional.tanh(pooled))
        both = functional.concat([joined, joined])
        dense = self.dense[1](self.dense[0](pooled.dense()))
        scores = [head(both) for head in self.heads]
        scores.append(dense.reshape(len(dense), -1).sum() * scores[0])
        return functional.cross_entropy(scores[0] + scores[1] * scores[2], [1, 3])


def run_every_operation(ground):
    x = random_sparse_tensor(np.random.default_rng(1), (8, 8), channels=3, ground=ground)
    features = Tensor(x.features.data, requires_grad=True)
    x = x.replace_feature(features, x.ground_state)
    net = EveryOperation().seed(1)
    loss = net(x)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
    return {"loss": loss.data, "features": features.grad, **gradients}


@pytest.mark.parametrize("ground", [True, False])
def test_no_operation_writes_to_what_it_was_lent(request, engine, ground):
    expected = run_every_operation(ground)
    assert all(value is not None for value in expected.values())
    request.getfixturevalue("frozen")
    actual = run_every_operation(ground)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def run_every_function():
    """Of tensors, beside those of sparse tensors and layers above."""
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((2, 3, 4, 4)), requires_grad=True)
    up = spconv.ConvTranspose2d(3, 3, 1, stride=2, output_padding=1, rng=rng)
    large = functional.upsample(x, 2)
    y = functional.concatenate([large, up(x), large], axis=1)
    y = functional.where(y > 0, functional.maximum(y, large[:, :1]), functional.minimum(y, 0.1))
    y = abs(y.clip(-1, 1)) + functional.softmax(y, 1) * functional.log_softmax(y, 1)
    y = y.permute(0, 2, 1, 3) @ y.permute(0, 2, 3, 1) + (y * y + 1).sqrt().max(3).mean()
    rows = y.reshape(-1, 9)
    rows = rows @ (rows.T @ rows) + rows.max(0)
    targets = rows.detach() * 0.5
    loss = functional.mse_loss(rows, targets) + functional.l1_loss(rows, targets)
    loss = loss + functional.smooth_l1_loss(targets, rows, 2.0)
    questions = functional.binary_cross_entropy_with_logits(rows, rows.data > 1)
    classes = functional.cross_entropy(y, np.ones((2, 9, 9), int))
    loss = loss + rows.max() + questions + classes
    loss.backward()
    return {"loss": loss.data, "x": x.grad, "weight": up.weight.grad, "bias": up.bias.grad}


def test_no_function_writes_to_what_it_was_lent(request, engine):
    expected = run_every_function()
    request.getfixturevalue("frozen")
    for name, value in run_every_function().items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_backward_frees_what_the_graph_held(no_collector):
    x = leaf(1.0, 2.0)
    middle = x * 2.0
    held = weakref.ref(middle.data)
    loss = (middle * middle).sum()
    del middle
    assert held() is not None
    loss.backward()
    assert held() is None


def test_backward_frees_the_nodes(no_collector):
    def count():
        return sum(type(thing) is autograd.Node for thing in gc.get_objects())

    x = leaf(1.0)
    before = count()
    y = x
    for _ in range(100):
        y = y + x
    assert count() == before + 101
    y.backward()
    assert count() == before + 2  # those of x and y themselves


def test_nodes_are_freed_while_backward_goes_on(no_collector):
    """When the first operation's backward runs, nothing of the later ones is left."""
    x = leaf(1.0, 2.0)
    alive = []
    held = []

    def backward(gradient):
        alive.extend(ref() is not None for ref in held)
        return (gradient,)

    y = record(x.data * 1.0, (x,), backward)
    for _ in range(3):
        y = y * y
        held.append(weakref.ref(y.data))
    loss = y.sum()
    del y
    assert all(ref() is not None for ref in held[:2])
    loss.backward()
    assert alive == [False] * 3


def test_the_tape_keeps_no_tensors(no_collector):
    x = leaf(1.0, 2.0)
    middle = x + 1.0
    tensor, data = weakref.ref(middle), weakref.ref(middle.data)
    y = middle + 1.0  # needs no values to go back
    del middle
    assert tensor() is None
    assert data() is None
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [1, 1])


def test_dropped_leaves_and_models_are_freed_at_once(no_collector):
    net = spconv.SparseSequential(spconv.SubMConv2d(1, 2, 3), spconv.ReLU(), spconv.Flatten())
    net(spconv.from_dense(np.eye(4)[None, None])).sum().backward()
    parameters = [weakref.ref(parameter) for parameter in net.parameters()]
    del net
    assert [ref() for ref in parameters] == [None, None]
    x = leaf(1.0)
    y = (x * 2.0).sum()
    gone = weakref.ref(x)
    del x
    assert gone() is None
    y.backward()  # nobody is left to read the gradient


def count_calls(monkeypatch, name):
    calls = []
    engine = type(spconv.ops.get_ops(np.zeros(1)))
    original = getattr(engine, name)

    def counting(*arguments, **options):
        calls.append(options.get("transposed", False))
        return original(*arguments, **options)

    monkeypatch.setattr(engine, name, counting)
    return calls


def test_gradients_that_nobody_reads_are_not_computed(monkeypatch):
    convolutions = count_calls(monkeypatch, "convolve")
    weights = count_calls(monkeypatch, "weight_gradient")
    x = random_sparse_tensor(np.random.default_rng(0), (6, 6), ground=False)
    first, second = spconv.SubMConv2d(3, 4, 3), spconv.SubMConv2d(4, 2, 3)
    second(first(x)).features.sum().backward()
    assert convolutions == [False, False, True]  # none for the input of the first layer
    assert len(weights) == 2
    convolutions.clear()
    weights.clear()
    second.weight = Tensor(second.weight.data)  # frozen
    second(first(x)).features.sum().backward()
    assert convolutions == [False, False, True]
    assert len(weights) == 1


def test_a_leaf_shared_by_two_layers():
    x = random_sparse_tensor(np.random.default_rng(0), (6, 6), channels=2, dtype=np.float64)
    shared = Parameter(np.random.default_rng(1).standard_normal((9, 2, 2)))
    one, two = spconv.SubMConv2d(2, 2, 3, bias=False), spconv.SubMConv2d(2, 2, 3, bias=False)
    one.weight = two.weight = shared
    (two(one(x)).features).sum().backward()
    together = shared.grad
    one.weight, two.weight = Parameter(shared.data), Parameter(shared.data)
    (two(one(x)).features).sum().backward()
    np.testing.assert_allclose(together, two.weight.grad + one.weight.grad, rtol=1e-12)


def test_threads_go_backward_into_the_same_parameters():
    weight, times = Parameter(np.ones(50_000, np.float32)), 200

    def work():
        for _ in range(times):
            (weight * 1.0).backward(np.ones(50_000, np.float32))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (weight.grad == 3 * times).all()


@pytest.mark.parametrize("inputs", [np.ones(2), [np.ones(2)], [1], 5, ["x"]])
def test_inputs_of_an_operation_are_tensors(inputs):
    with pytest.raises(TypeError, match="record: inputs must be a sequence of Tensors or None"):
        record(np.ones(2), inputs, lambda gradient: (gradient,))


def test_a_bare_tensor_is_no_sequence_of_inputs():
    x = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match=r"record: .* or None, got Tensor; pass a tuple, \(x,\)"):
        record(x.data, x, lambda gradient: (gradient,))


def test_an_optional_input_that_is_not_there():
    x = Parameter(np.ones(2))
    record(3 * x.data, (None, x), lambda gradient: (None, 3 * gradient)).sum().backward()
    assert x.grad.tolist() == [3, 3]


@pytest.mark.parametrize("size", [10, 10_000])
def test_sums_of_gradients_leave_alone_what_a_backward_keeps(size):
    """An array of its own that it returns each time, and the same one for two inputs."""
    x, y = (Parameter(np.ones(size)) for _ in range(2))
    kept = np.full(size, 2.0)
    outputs = [record(np.ones(1), (x, y), lambda _: (kept, kept)) for _ in range(3)]
    sum(outputs, Tensor(np.zeros(1))).backward()
    np.testing.assert_array_equal(kept, 2)
    np.testing.assert_array_equal(x.grad, 6)
    np.testing.assert_array_equal(y.grad, 6)


def test_gradients_of_scalars_are_arrays():
    x = Parameter(np.array(3.0))
    given = []
    y = record(x.data * 2, (x,), lambda gradient: (given.append(gradient) or gradient * 2,))
    (y * y).backward()
    assert isinstance(given[0], np.ndarray)
    assert isinstance(x.grad, np.ndarray)
    assert x.grad == 24
