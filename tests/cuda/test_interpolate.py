"""Values of voxels on a device, interpolated on the host: emulated, or on a GPU."""

import numpy as np
import pytest

import spconv
from spconv.data import voxelize
from spconv.functional import concatenate


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients_come_back_to_the_device(cupy, dtype):
    rng = np.random.default_rng(0)
    clouds = [rng.normal(0, 2, (n, 3)) for n in (60, 0, 30)]
    voxels = voxelize(clouds, voxel_size=0.9)
    values = rng.standard_normal((len(voxels), 4)).astype(dtype)
    dy = rng.standard_normal((90, 4)).astype(dtype)
    results = []
    for array in (values, cupy.asarray(values)):
        x = spconv.Tensor(array, requires_grad=True)
        parts = voxels.interpolate(x)
        y = concatenate(parts)
        y.backward(dy if array is values else cupy.asarray(dy))
        results.append((y, x.grad, voxels.interpolate(array)[0]))
    (y, dx, plain), on_device = results
    assert all(isinstance(a, cupy.ndarray) for a in (on_device[0].data, *on_device[1:]))
    np.testing.assert_array_equal(on_device[0].numpy(), y.numpy())
    np.testing.assert_array_equal(on_device[1].get(), dx)
    np.testing.assert_array_equal(on_device[2].get(), plain)
