"""Arrays of the other byte order: what a file may hold goes through every kind of operation."""

import numpy as np

import spconv
from spconv import functional
from spconv.autograd import Parameter, Tensor

SWAPPED = np.dtype(np.float32).newbyteorder()


def test_operations_and_steps():
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((4, 4)).astype(SWAPPED) for _ in range(2))
    y = functional.linear(Tensor(x), Tensor(w), None)
    np.testing.assert_allclose(y.data, x.astype(np.float32) @ w.astype(np.float32), rtol=1e-5)
    dropped = functional.dropout(Tensor(x), 0.5, np.random.default_rng(1)).data
    assert set(np.unique(dropped / (2 * x))) <= {0.0, 1.0}
    for kind in (spconv.optim.SGD, spconv.optim.Adam):
        parameter, native = Parameter(w.copy()), Parameter(w.astype(np.float32))
        for p in (parameter, native):
            p.grad = x.astype(p.dtype)
            kind([("p", p)], lr=0.1).step()
        np.testing.assert_array_equal(parameter.data, native.data)
