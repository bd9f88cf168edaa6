"""The twin check refuses wrong values, wrong gradients and a wrong order of sites."""

import numpy as np
import pytest

from spconv.autograd import Parameter, record
from spconv.testing import assert_twin, random_sparse_tensor, reference


def scale(x, weight, error=0.0):
    """Multiply by a (C,) weight; `error` goes into the gradient of the features alone."""

    def times(rows):
        def backward(grad):
            total = (grad * rows.data).sum(tuple(range(grad.ndim - 1)))
            return grad * weight.data + error, total

        return record(rows.data * weight.data, (rows, weight), backward)

    ground = None if x.ground_state is None else times(x.ground_state)
    return x.replace_feature(times(x.features), ground)


def twin(grid, parameters):
    return reference.pointwise(grid, lambda rows: rows * parameters["weight"])


@pytest.mark.parametrize("ground", [True, False])
def test_accepts_the_right_layer(ground):
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (4, 3), ground=ground, shuffle=True)
    weight = Parameter(rng.standard_normal(3))
    assert_twin(lambda x: scale(x, weight), twin, x, {"weight": weight}, rng=rng, keeps_sites=True)
    with pytest.raises(AssertionError, match="indices"):
        assert_twin(lambda x: scale(x, weight), twin, x, {"weight": weight}, rng=rng)


def test_refuses_a_wrong_value_and_a_wrong_gradient():
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (4, 3))
    weight, off = Parameter(rng.standard_normal(3)), Parameter(rng.standard_normal(3))
    with pytest.raises(AssertionError, match="features: expected"):
        assert_twin(
            lambda x: scale(x, off),
            lambda grid, _: twin(grid, {"weight": weight.data}),
            x,
            rng=rng,
        )
    with pytest.raises(AssertionError, match="gradient of features"):
        assert_twin(lambda x: scale(x, weight, 1e-8), twin, x, {"weight": weight}, rng=rng)


def test_functions_to_plain_tensors():
    rng = np.random.default_rng(0)
    x = random_sparse_tensor(rng, (4, 3))
    assert_twin(lambda x: x.dense(), lambda grid, _: grid.values, x, rng=rng)
