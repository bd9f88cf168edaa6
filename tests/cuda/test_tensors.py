"""Arithmetic of CUDA tensors: emulated, or on a GPU."""

import numpy as np
import pytest
from fake_array import COPIES

import spconv
import spconv.graph
from spconv import functional
from spconv.autograd import record
from spconv.compat import is_cupy
from spconv.data.interpolate import spread
from spconv.geometry import Geometry
from spconv.testing import assert_close, tolerance

EXPRESSIONS = {
    "x * 2": lambda x: x * 2,
    "0.5 * x": lambda x: 0.5 * x,
    "x + 1": lambda x: x + 1,
    "1 - x": lambda x: 1 - x,
    "x - 0.25": lambda x: x - 0.25,
    "x / 4": lambda x: x / 4,
    "2 / x": lambda x: 2 / x,
    "a NumPy scalar": lambda x: np.float32(3) * x + x * np.int64(2) - np.float64(0.5),
    "mean": lambda x: x.mean() * x,
    "sum": lambda x: x * (x.sum() - 3.0),
    "sum along an axis": lambda x: x * x.sum(1, keepdims=True) + x.mean(0),
    "power": lambda x: x**1.5,
    "exp and log": lambda x: (x.exp() + 1).log(),
    "slice": lambda x: x * x[1:, 0].sum(),
    "rows": lambda x: x[[0, 0, 4, 1, 0]] * 2,
    "rows of the host": lambda x: x[np.array([3, -1, 3])] * 2,
    "columns": lambda x: x[1:, [0, 2, 0]] * x[0, [1, 1, 1]],
    "a mask of the host": lambda x: x[np.array([True, False, True, True, False])] * 2,
    "abs and sqrt": lambda x: (abs(1.9 - x) + 1).sqrt(),
    "clip": lambda x: x.clip(1.7, 2.2) * x.clip(max=2),
    "max": lambda x: x.max() * x.max(1, keepdims=True) + x.max(0),
    "min": lambda x: x.min() * x.min(1, keepdims=True) + x.min(0),
    "a power of a number": lambda x: 2**x + x * 0.5 ** (x - 1),
    "flatten": lambda x: x.T.flatten() * x.flatten(),
    "the rows of the largest": lambda x: x[x.argmax(0)],
    "axes": lambda x: x.T * x.permute(1, 0) + x.T.max(),
    "product": lambda x: x @ x.T / 4,
    "products of views": lambda x: ((x.T / 4) @ x).T @ x[::2].T,
    "products": lambda x: x.reshape(5, 3, 1) @ x.reshape(5, 1, 3) + x[0] @ (x.T / 4) @ x,
    "powers": lambda x: (1 - x) * (1 + x) / (2 - x * x),
}


def values(dtype, shape=(5, 3)):
    return (1.5 + np.random.default_rng(0).random(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_numbers_and_tensors(cupy, name, dtype):
    """The same values, dtypes and gradients as on the CPU."""
    results = []
    for xp in (np, cupy):
        x = spconv.Tensor(xp.asarray(values(dtype)), requires_grad=True)
        y = EXPRESSIONS[name](x)
        y.backward(xp.asarray(values(y.dtype, y.shape)))
        assert isinstance(y.data, xp.ndarray)
        assert isinstance(x.grad, xp.ndarray)
        results.append((y, x))
    (y, x), (device_y, device_x) = results
    assert device_y.dtype == y.dtype
    assert device_x.grad.dtype == x.grad.dtype == dtype
    bound = tolerance(dtype, 8)
    assert_close(device_y.numpy(), y.data, bound, name)
    assert_close(device_x.grad.get(), x.grad, bound, name)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_loss_with_all_options(cupy, dtype):
    labels, options = [0, 2, -1, 1, 1], {"weight": [1, 2, 3], "label_smoothing": 0.1}
    results = []
    for xp in (np, cupy):
        x = spconv.Tensor(xp.asarray(values(dtype)), requires_grad=True)
        loss = spconv.functional.cross_entropy(x, labels, ignore_index=-1, **options)
        loss.backward()
        results.append((loss.numpy(), x.grad if xp is np else x.grad.get()))
    for actual, expected in zip(*reversed(results), strict=True):
        assert_close(actual, expected, tolerance(dtype, 8))


MASK = np.random.default_rng(3).random((5, 3)) > 0.5
GRIDS = {"ignore_index": 2, "weight": [1, 2, 3], "label_smoothing": 0.1}
FUNCTIONS = {
    "maximum": lambda x, xp: functional.maximum(x, 1.9) * functional.maximum(x[0], x),
    "minimum": lambda x, xp: functional.minimum(x, x.T[0].reshape(5, 1) + 0.125),
    "where": lambda x, xp: functional.where(xp.asarray(MASK), x, 2 * x),
    "where, a mask of the host": lambda x, xp: functional.where(MASK, x, 0),
    "where of a comparison": lambda x, xp: functional.where(x > 2, 1.0, x),
    "concatenate": lambda x, xp: functional.concatenate([x, x * 2, x[:1]]),
    "concatenate columns": lambda x, xp: functional.concatenate([x, x[:, :1] * 2], axis=1),
    "stack": lambda x, xp: functional.stack([x, x * 2], axis=1),
    "softmax": lambda x, xp: functional.softmax(x, 1),
    "log_softmax": lambda x, xp: functional.log_softmax(x, 0),
    "silu": lambda x, xp: functional.silu(4 - 3 * x),
    "gelu": lambda x, xp: functional.gelu(4 - 3 * x),
    "softplus": lambda x, xp: functional.softplus(4 - 3 * x),
    "log_sigmoid": lambda x, xp: functional.log_sigmoid(4 - 3 * x),
    "scatter": lambda x, xp: functional.scatter(x, [2, 0, -1, 2, 0], 4),
    "scatter by the mean": lambda x, xp: functional.scatter(x, xp.arange(5) // 2, 3, "mean"),
    "scatter by the maximum": lambda x, xp: functional.scatter(x, [2, 0, -1, 2, 0], 4, "max"),
    "scatter of no rows": lambda x, xp: (
        functional.scatter(x, [-1] * 5, 2, "mean") + functional.scatter(x, [-1] * 5, 2, "max")
    ),
    "voxels to points": lambda x, xp: spread(x, np.array([4, -1, 0, 4, 1, 4]), 0.5),
    "a row for points outside": lambda x, xp: spread(x, np.array([2, -1, -1]), [0.5, 1, 2]),
    "mse_loss": lambda x, xp: functional.mse_loss(x, MASK),
    "l1_loss": lambda x, xp: functional.l1_loss(x, x[0].reshape(1, 3) * xp.ones((5, 1), x.dtype)),
    "smooth_l1_loss": lambda x, xp: functional.smooth_l1_loss(
        x, xp.full((5, 3), 1.9, x.dtype), 0.2
    ),
    "upsample": lambda x, xp: functional.upsample(x.reshape(1, 3, 5, 1), (2, 3)),
    "yes or no": lambda x, xp: functional.binary_cross_entropy_with_logits(x, MASK),
    "yes or no on the device": lambda x, xp: functional.binary_cross_entropy_with_logits(
        x, xp.asarray(MASK)
    ),
    "losses one by one": lambda x, xp: (
        functional.mse_loss(x, MASK, "none")
        + (
            functional.binary_cross_entropy_with_logits(
                x, MASK, [1, 2, 3], xp.asarray([[2.0]]), "none"
            )
        )
    ),
    "a sum": lambda x, xp: functional.l1_loss(x, MASK, reduction="sum"),
    "cross_entropy one by one": lambda x, xp: functional.cross_entropy(
        x.T.reshape(1, 3, 5), [[0, 1, 2, 1, 0]], **GRIDS, reduction="none"
    ),
    "cross_entropy of grids": lambda x, xp: functional.cross_entropy(
        x.T.reshape(1, 3, 5), [[0, 1, 2, 1, 0]]
    ),
    "cross_entropy of grids with all options": lambda x, xp: functional.cross_entropy(
        x.T.reshape(1, 3, 5), xp.asarray([[0, 1, 2, 1, 0]]), **GRIDS
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(cupy, name, dtype):
    """The same values, dtypes and gradients as on the CPU."""
    results = []
    for xp in (np, cupy):
        x = spconv.Tensor(xp.asarray(values(dtype)), requires_grad=True)
        y = FUNCTIONS[name](x, xp)
        y.backward(xp.asarray(values(y.dtype, y.shape)))
        assert isinstance(y.data, xp.ndarray)
        assert isinstance(x.grad, xp.ndarray)
        results.append((y.numpy(), x.grad if xp is np else x.grad.get()))
    for actual, expected in zip(*reversed(results), strict=True):
        assert actual.dtype == expected.dtype == dtype
        assert_close(actual, expected, tolerance(dtype, 8), name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_transposed_convolution_of_a_grid(cupy, dtype):
    """With sites that no input reaches."""
    geometry, results = Geometry.make(2, 2, 3, transposed=True), []
    for xp in (np, cupy):
        shapes = (2, 3, 4, 2), (4, 3, 2), (2,)
        inputs = [spconv.Parameter(xp.asarray(values(dtype, shape))) for shape in shapes]
        y = functional.dense_conv(*inputs, geometry)
        y.backward(xp.asarray(values(dtype, y.shape)))
        arrays = [y.data, *(tensor.grad for tensor in inputs)]
        results.append(arrays if xp is np else [array.get() for array in arrays])
    for actual, expected in zip(*reversed(results), strict=True):
        assert_close(actual, expected, tolerance(dtype, 100))


def test_scatter_waits_for_nothing(emulated):
    x = spconv.Tensor(emulated.asarray(values("float32")), requires_grad=True)
    before = COPIES["to_host"]
    functional.scatter(x, [2, 0, -1, 2, 0], 4, "mean").sum().backward()
    assert COPIES["to_host"] == before


def test_losses_wait_for_nothing(emulated):
    """Targets of the device are looked at there: what is no target makes the loss NaN."""
    x = spconv.Tensor(emulated.asarray(values("float32")), requires_grad=True)
    wrong = np.zeros((5, 3), np.float32)
    wrong[2, 1] = 2
    wrong = emulated.asarray(wrong)
    before = COPIES["to_host"]
    loss = functional.binary_cross_entropy_with_logits(x, wrong)
    loss = loss + functional.mse_loss(x, wrong) + functional.l1_loss(x, wrong)
    loss = loss + functional.smooth_l1_loss(x, wrong) + x.max() + functional.maximum(x, 1).sum()
    loss.backward()
    assert COPIES["to_host"] == before
    assert np.isnan(loss.item())
    assert np.argwhere(np.isnan(x.grad.get())).tolist() == [[2, 1]]


def test_operands_of_two_devices_are_refused(cupy):
    x = spconv.Tensor(cupy.asarray(values("float32")))
    host = spconv.Tensor(values("float32"))
    for call in (
        lambda: functional.maximum(x, host),
        lambda: functional.where(MASK, x, host),
        lambda: functional.concatenate([x, host]),
        lambda: functional.mse_loss(x, host),
        lambda: x @ host.T,
    ):
        with pytest.raises(TypeError, match=r"on one device, got cuda and cpu; move one of them"):
            call()
    with pytest.raises(TypeError, match="where: the mask is on cuda but the operands are on cpu"):
        functional.where(cupy.asarray(MASK), host, 0)


def test_numbers_stay_where_they_are(emulated):
    """They are filled in on the device, and a large array goes through it too."""
    x = spconv.Tensor(emulated.ones((70, 80), np.float32), requires_grad=True)
    before = COPIES["to_host"]
    y = (1 - x * 2.0).mean() * 0.5
    y.backward()
    x.grad = None
    (x + x).backward(emulated.ones((70, 80), np.float32))
    assert COPIES["to_host"] == before
    assert is_cupy(y.data)
    assert is_cupy(x.grad)


def test_shapes_that_numpy_asks_for_stay_on_the_device(emulated):
    x = spconv.Tensor(emulated.ones((2, 3), np.float32), requires_grad=True)
    before = COPIES["to_host"]
    assert (np.shape(x), np.ndim(x), np.size(x, 1)) == ((2, 3), 2, 3)
    assert COPIES["to_host"] == before
    with pytest.raises(TypeError, match=r"numpy\.sum: got a Tensor that requires a gradient"):
        np.sum(x)
    assert np.sum(x.detach()) == 6


def test_a_weighted_loss(cupy):
    logits = spconv.Tensor(cupy.asarray(values("float32")), requires_grad=True)
    loss = spconv.functional.cross_entropy(logits, np.array([0, 1, 2, 0, 1]))
    (loss * 0.5 + 1.0).backward()
    host = spconv.Tensor(values("float32"), requires_grad=True)
    spconv.functional.cross_entropy(host, np.array([0, 1, 2, 0, 1])).backward()
    assert_close(logits.grad.get(), 0.5 * host.grad, tolerance("float32", 8))


@pytest.mark.parametrize("other", [np.float32(2), np.array(2.0), np.ones(3, np.float32)])
def test_the_stand_in_mixes_as_cupy_does(cupy, other):
    """Arrays of NumPy are refused whatever their shape, its scalars are not."""
    x = cupy.ones((2, 3), np.float32)
    if isinstance(other, np.generic):
        assert (np.multiply(other, x).dtype, (x * other).dtype) == (np.float32, np.float32)
        return
    for function in (lambda: x * other, lambda: other * x, lambda: np.add(x, other)):
        with pytest.raises(TypeError, match="Unsupported type"):
            function()


def test_the_stand_in_does_not_convert_itself(cupy):
    x = cupy.ones((2, 3), np.float32)
    assert not isinstance(x, np.ndarray)
    for function in (np.asarray, np.ascontiguousarray):
        with pytest.raises(TypeError, match="Implicit conversion"):
            function(x)
    with pytest.raises(TypeError, match="initial"):
        x.max(axis=1, initial=0)
    if hasattr(cupy, "emulated"):  # a machine with a device may have cuBLAS
        with pytest.raises(ImportError, match=r"(?i)cublas"):
            cupy.einsum("nc,nc->c", x, x)


LEAVES = {  # what a backward gives two leaves, and how many of them need a copy
    "new arrays": (lambda xp, gradient: (2 * gradient, 3 * gradient), 0),
    "rows of one new array": (lambda xp, gradient: tuple(xp.stack([gradient] * 2)), 0),
    "the gradient": (lambda xp, gradient: (gradient, 2 * gradient), 1),
    "a view of the gradient": (lambda xp, gradient: (gradient[:], gradient.reshape(-1)), 2),
    "one array twice": (lambda xp, gradient: (2 * gradient,) * 2, 2),
    "one number spread": (lambda xp, gradient: (xp.broadcast_to(gradient[:1], 6), 2 * gradient), 1),
}


@pytest.mark.parametrize("kind", LEAVES)
def test_leaves_get_arrays_of_their_own_and_no_copy_where_they_have_them(cupy, kind, monkeypatch):
    backward, expected = LEAVES[kind]
    copies, copied = [], spconv.graph.copied
    monkeypatch.setattr(spconv.graph, "copied", lambda array: copies.append(1) or copied(array))
    a, b = (spconv.Tensor(cupy.ones(6), requires_grad=True) for _ in range(2))
    gradient = cupy.arange(6, dtype=np.float64)
    record(cupy.ones(6), (a, b), lambda given: backward(cupy, given)).backward(gradient)
    assert len(copies) == expected
    first, second = (np.array(result) for result in backward(np, np.arange(6.0)))
    a.grad *= 7
    np.testing.assert_array_equal(b.grad.get(), second)
    b.grad *= 7
    np.testing.assert_array_equal(a.grad.get(), 7 * first)
    np.testing.assert_array_equal(gradient.get(), np.arange(6))
