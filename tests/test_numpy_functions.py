"""NumPy's functions on tensors: refused where a gradient would be lost, the values' otherwise.

Its ufuncs are refused, but those that an array's operators call.
"""

import operator

import numpy as np
import pytest
import scipy.special

import spconv
from spconv import Tensor
from spconv.numpy_functions import INSTEAD, OF_UFUNCS, REFLECTED


def tensor(requires_grad, shape=(3, 3)):
    values = np.random.default_rng(0).standard_normal(shape)
    return Tensor(values, requires_grad=requires_grad)


LOSING = {  # functions whose result a gradient could go back from
    "amax": lambda x: np.amax(x),
    "amin": lambda x: np.amin(x, axis=0),
    "append": lambda x: np.append(x, x),
    "sort": lambda x: np.sort(x),
    "average": lambda x: np.average(x),
    "clip": lambda x: np.clip(x, 0, 1),
    "column_stack": lambda x: np.column_stack([x, x]),
    "concatenate": lambda x: np.concatenate([x, x]),
    "concatenate with an array": lambda x: np.concatenate([x.data, x]),
    "cumsum": lambda x: np.cumsum(x),
    "dot": lambda x: np.dot(x, x),
    "einsum": lambda x: np.einsum("ab,bc->ac", x, x),
    "fft.fft": lambda x: np.fft.fft(x),
    "hstack": lambda x: np.hstack((x, x)),
    "inner": lambda x: np.inner(x, x),
    "linalg.norm": lambda x: np.linalg.norm(x),
    "linalg.svd": lambda x: np.linalg.svd(x),
    "max": lambda x: np.max(x, axis=1),
    "mean": lambda x: np.mean(x),
    "min": lambda x: np.min(x),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1),
    "outer": lambda x: np.outer(x, x),
    "ravel": lambda x: np.ravel(x),
    "repeat": lambda x: np.repeat(x, 2, axis=0),
    "reshape": lambda x: np.reshape(x, -1),
    "split": lambda x: np.split(x, 3),
    "squeeze": lambda x: np.squeeze(x),
    "stack": lambda x: np.stack([x, x]),
    "std": lambda x: np.std(x),
    "sum": lambda x: np.sum(x),
    "sum of an option": lambda x: np.sum(a=x, axis=0),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "take": lambda x: np.take(x, [0]),
    "tensordot": lambda x: np.tensordot(x, x),
    "transpose": lambda x: np.transpose(x),
    "var": lambda x: np.var(x, axis=0),
    "vstack": lambda x: np.vstack([x, x]),
    "where": lambda x: np.where(x > 0, x, 0),
}


@pytest.mark.parametrize("name", LOSING)
def test_a_gradient_is_not_lost(name):
    function, x = LOSING[name], tensor(True)
    message = r"^numpy\S*: got a Tensor that requires a gradient, .*use .*, or x.data for the val"
    with pytest.raises(TypeError, match=message):
        function(x)
    with pytest.raises(TypeError, match=message):
        function(x * 2.0)
    np.testing.assert_equal(function(x.detach()), function(x.data))
    with spconv.no_grad():
        np.testing.assert_equal(function(x), function(x.data))


def test_the_operation_to_use_is_named():
    x = tensor(True)
    with pytest.raises(TypeError, match=r"^numpy.where: .*use spconv.functional.where\(mask, x, y"):
        np.where(x.data > 0, x, 0)
    with pytest.raises(TypeError, match=r"^numpy.linalg.norm: .*use \(x \* x\).sum\(axis\).sqrt"):
        np.linalg.norm(x)
    with pytest.raises(TypeError, match=r"^numpy.median: .*use the tensor's methods and spconv.fu"):
        np.median(x)


@pytest.mark.parametrize("name", [n for n in INSTEAD if n not in ("norm",)])
def test_what_is_named_is_a_function_of_numpy(name):
    assert callable(getattr(np, name))


HARMLESS = {
    "allclose": lambda x: np.allclose(x, x),
    "any": lambda x: np.any(x),
    "argmax": lambda x: np.argmax(x, axis=1),
    "argsort": lambda x: np.argsort(x),
    "array": lambda x: np.array(x),
    "array_equal": lambda x: np.array_equal(x, x),
    "array_str": lambda x: np.array_str(x),
    "asarray": lambda x: np.asarray(x, np.float32),
    "can_cast": lambda x: np.can_cast(np.asarray(x).dtype, "f8"),
    "copy": lambda x: np.copy(x),
    "count_nonzero": lambda x: np.count_nonzero(x),
    "histogram": lambda x: np.histogram(x, 4),
    "isclose": lambda x: np.isclose(x, 0.0),
    "iscomplexobj": lambda x: np.iscomplexobj(x),
    "may_share_memory": lambda x: np.may_share_memory(x, x),
    "ndim": lambda x: np.ndim(x),
    "nonzero": lambda x: np.nonzero(x),
    "result_type": lambda x: np.result_type(x, np.float32),
    "shape": lambda x: np.shape(x),
    "size": lambda x: np.size(x, 0),
    "zeros_like": lambda x: np.zeros_like(x),
}


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("name", HARMLESS)
def test_comparisons_and_queries_are_of_the_values(name, requires_grad):
    x = tensor(requires_grad)
    np.testing.assert_equal(HARMLESS[name](x), HARMLESS[name](x.data))


@pytest.mark.parametrize("requires_grad", [True, False])
def test_numpys_assertions_take_tensors(requires_grad):
    x = tensor(requires_grad)
    np.testing.assert_array_equal(x, x.data)
    np.testing.assert_equal(x, x.data)
    np.testing.assert_allclose(x.data, x)
    np.testing.assert_array_almost_equal(x, x)
    np.testing.assert_array_less(x, x.data + 1)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(x, x.data + 1)


def test_what_goes_to_a_file_or_an_array(tmp_path):
    x = tensor(True)
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), x)
    copy = np.empty((3, 3))
    np.copyto(copy, x)
    np.testing.assert_array_equal(copy, x)


UFUNCS = {
    "exp": (lambda x: np.exp(x), r"numpy.exp: .*use x.exp\(\), or numpy.exp of x.data for the val"),
    "sqrt": (lambda x: np.sqrt(x), r"numpy.sqrt: .*use x.sqrt\(\), "),
    "log": (lambda x: np.log(x), r"numpy.log: .*use x.log\(\), "),
    "abs": (lambda x: np.abs(x), r"numpy.absolute: .*use abs\(x\), "),
    "maximum": (lambda x: np.maximum(x, 0), r"numpy.maximum: .*use spconv.functional.maximum\(x, "),
    "of an array": (
        lambda x: np.maximum(x.data, x),
        r"numpy.maximum: .*use spconv.functional.maxi",
    ),
    "isnan": (lambda x: np.isnan(x), "numpy.isnan: .*use numpy.isnan of x.data, which are the val"),
    "isfinite": (lambda x: np.isfinite(x), "numpy.isfinite: .*use numpy.isfinite of x.data"),
    "matmul": (lambda x: np.matmul(x, x), "numpy.matmul: .*use x @ y, "),
    "add": (lambda x: np.add(x, 1), r"numpy.add: .*use x \+ y, "),
    "out": (lambda x: np.add(x.data, x, out=x.data), r"numpy.add: .*use x \+ y, "),
    "into a tensor": (lambda x: np.add(x.data, 1, out=x), r"numpy.add: .*use x \+ y, "),
    "where": (lambda x: np.add(x.data, x, where=x.data > 0), r"numpy.add: .*use x \+ y, "),
    "reduce": (lambda x: np.add.reduce(x), "numpy.add.reduce: .*use numpy.add.reduce of x.data"),
    "outer": (lambda x: np.multiply.outer(x, x), "numpy.multiply.outer: .*use numpy.multiply.out"),
    "floor": (lambda x: x.data // x, "numpy.floor_divide: .*use numpy.floor_divide of x.data"),
    "SciPy's": (lambda x: scipy.special.expit(x), r"expit: .*use spconv.functional.sigmoid\(x\), "),
}


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs_are_refused(name, requires_grad):
    function, message = UFUNCS[name]
    x = tensor(requires_grad)
    before = x.data.copy()
    with pytest.raises(TypeError, match=f"^{message}"):
        function(x)
    np.testing.assert_array_equal(x.data, before)


@pytest.mark.parametrize("name", OF_UFUNCS)
def test_what_is_named_is_a_ufunc(name):
    assert isinstance(getattr(np, name, None) or getattr(scipy.special, name), np.ufunc)


OPERATORS = {
    np.add: operator.add,
    np.divide: operator.truediv,
    np.equal: operator.eq,
    np.greater: operator.gt,
    np.greater_equal: operator.ge,
    np.less: operator.lt,
    np.less_equal: operator.le,
    np.matmul: operator.matmul,
    np.multiply: operator.mul,
    np.not_equal: operator.ne,
    np.subtract: operator.sub,
}


LEFT = {
    "array": np.arange(9.0).reshape(3, 3),
    "masked": np.ma.masked_array(np.arange(9.0).reshape(3, 3)),
    "without axes": np.array(0.5),
    "scalar": np.float64(0.5),
    "integer": np.int64(2),
}


@pytest.mark.parametrize(
    ("ufunc", "left"),
    [(f, name) for f in OPERATORS for name in LEFT if f is not np.matmul or LEFT[name].ndim],
)
def test_operators_of_arrays_come_to_the_tensor(ufunc, left):
    x, other = tensor(True), LEFT[left]
    y = OPERATORS[ufunc](other, x)
    np.testing.assert_allclose(y, OPERATORS[ufunc](np.asarray(other), x.data), rtol=1e-13)
    if REFLECTED[ufunc].startswith("__r"):
        assert type(y) is Tensor
        assert y.requires_grad
    else:
        assert not isinstance(y, Tensor)


def test_every_operator_is_there():
    assert set(REFLECTED) == {*OPERATORS, np.power}


def test_a_power_of_a_scalar_comes_to_the_tensor():
    x = tensor(True)
    y = np.float64(2) ** x
    np.testing.assert_allclose(y, 2**x.data)
    assert y.requires_grad


def test_an_array_is_not_added_to():
    x, array = tensor(False), np.zeros((3, 3))
    with pytest.raises(TypeError, match=r"^numpy\.add: got a Tensor"):
        array += x
    np.testing.assert_array_equal(array, 0)
