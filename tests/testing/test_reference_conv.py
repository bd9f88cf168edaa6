"""The dense reference against literal sums, SciPy, and identities that hold by definition."""

import itertools

import numpy as np
import pytest
from scipy.ndimage import correlate

from spconv.testing import reference

GEOMETRIES = [  # spatial_shape, kernel_size, stride, padding, dilation
    ((7,), (3,), (1,), (0,), (1,)),
    ((8,), (2,), (3,), (1,), (1,)),
    ((5, 6), (3, 2), (2, 1), (1, 0), (1, 2)),
    ((4, 3, 5), (2, 1, 3), (1, 2, 2), (0, 1, 2), (2, 1, 1)),
    ((3, 4, 3, 3), (2, 3, 1, 2), (2, 1, 1, 1), (1, 1, 0, 0), (1, 1, 1, 2)),
]


def random_grid(rng, spatial_shape, channels=4, ground=True, density=0.4, batch=2):
    sites = np.argwhere(rng.random((batch, *spatial_shape)) < density)
    g = rng.standard_normal(channels) if ground else None
    features = rng.standard_normal((len(sites), channels))
    return reference.scatter(features, sites, spatial_shape, batch, g)


def read(x, batch, site):
    """The value at a site of the infinite grid."""
    inside = all(0 <= i < n for i, n in zip(site, x.spatial_shape, strict=True))
    return x.values[(batch, slice(None), *site)] if inside else x.background()


def is_active(x, batch, site):
    inside = all(0 <= i < n for i, n in zip(site, x.spatial_shape, strict=True))
    return inside and bool(x.active[(batch, *site)])


def full_matrix(matrix, groups):
    """The block-diagonal (C_in, C_out) matrix of a grouped one."""
    rows, columns = matrix.shape[0], matrix.shape[1] // groups
    full = np.zeros((rows * groups, columns * groups))
    for j in range(groups):
        block = slice(j * columns, (j + 1) * columns)
        full[j * rows : (j + 1) * rows, block] = matrix[:, block]
    return full


@pytest.mark.parametrize("ground", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_convolution_is_the_literal_sum(shape, kernel, stride, padding, dilation, groups, ground):
    rng = np.random.default_rng(1)
    x = random_grid(rng, shape, ground=ground)
    offsets = list(itertools.product(*map(range, kernel)))
    weight = rng.standard_normal((len(offsets), 4 // groups, 8))
    bias = rng.standard_normal(8)
    out = reference.convolution(
        x,
        weight,
        bias,
        kernel_size=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    matrices = [full_matrix(m, groups) for m in weight]
    for batch in range(2):
        for y in itertools.product(*map(range, out.spatial_shape)):
            sites = [
                tuple(
                    i * s - p + o * d
                    for i, s, p, o, d in zip(y, stride, padding, k, dilation, strict=True)
                )
                for k in offsets
            ]
            active = any(is_active(x, batch, site) for site in sites)
            assert out.active[(batch, *y)] == active
            expected = sum(read(x, batch, s) @ m for s, m in zip(sites, matrices, strict=True))
            if ground or active:
                expected = expected + bias
            np.testing.assert_allclose(out.values[(batch, slice(None), *y)], expected, atol=1e-13)
    if ground:
        np.testing.assert_allclose(out.ground, x.ground @ sum(matrices) + bias, atol=1e-13)
    # The definition of the ground state: inactive outputs hold it.
    values = np.moveaxis(out.values, 1, -1)[~out.active]
    background = np.broadcast_to(out.background(), values.shape)
    np.testing.assert_allclose(values, background, atol=1e-13)


def test_output_shape_follows_the_usual_formula():
    x = random_grid(np.random.default_rng(0), (11, 12), channels=1)
    out = reference.convolution(
        x, np.ones((6, 1, 1)), kernel_size=(3, 2), stride=(2, 3), padding=(1, 0), dilation=(2, 3)
    )
    assert out.spatial_shape == ((11 + 2 - 4 - 1) // 2 + 1, (12 - 3 - 1) // 3 + 1)


def test_submanifold_3x3_is_a_scipy_correlation_at_the_active_sites():
    rng = np.random.default_rng(2)
    x = random_grid(rng, (9, 8), channels=1, ground=False)
    weight = rng.standard_normal((9, 1, 1))
    out = reference.submanifold(x, weight, kernel_size=3)
    for b in range(2):
        expected = correlate(x.values[b, 0], weight.reshape(3, 3), mode="constant")
        np.testing.assert_allclose(out.values[b, 0], expected * x.active[b], atol=1e-14)
    np.testing.assert_array_equal(out.active, x.active)


@pytest.mark.parametrize(
    ("kernel", "dilation", "left"), [(2, 1, 0), (4, 1, 1), (2, 3, 1), (3, 2, 2)]
)
def test_submanifold_phase_is_that_of_same_padding(kernel, dilation, left):
    features = np.eye(12)[:, :1]  # one impulse at site 0 of 12
    sites = np.column_stack([np.zeros(12, int), (np.arange(12) + 6) % 12])
    x = reference.scatter(features, sites, (12,), 1)
    weight = np.arange(1.0, kernel + 1).reshape(kernel, 1, 1)
    out = reference.submanifold(x, weight, kernel_size=kernel, dilation=dilation)
    expected = np.zeros(12)
    for k in range(kernel):  # the output y that reads the impulse at 6 = y + k * dilation - left
        expected[6 - k * dilation + left] = k + 1
    np.testing.assert_array_equal(out.values[0, 0], expected)


def test_submanifold_elsewhere_holds_the_output_ground():
    rng = np.random.default_rng(3)
    x = random_grid(rng, (6, 6))
    weight, bias = rng.standard_normal((9, 2, 6)), rng.standard_normal(6)
    out = reference.submanifold(x, weight, bias, kernel_size=3, groups=2)
    dense = reference.convolution(x, weight, bias, kernel_size=3, padding=1, groups=2)
    np.testing.assert_allclose(out.ground, dense.ground, atol=1e-14)
    mask = x.active[:, None]
    expected = np.where(mask, dense.values, dense.ground[:, None, None])
    np.testing.assert_allclose(out.values, expected, atol=1e-14)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), GEOMETRIES)
def test_transposed_is_the_adjoint(shape, kernel, stride, padding, dilation, groups):
    rng = np.random.default_rng(4)
    geometry = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    x = random_grid(rng, shape, ground=False, density=1.1)
    forward = rng.standard_normal((int(np.prod(kernel)), 4 // groups, 6))
    y = reference.convolution(x, forward, **geometry)
    z = random_grid(rng, y.spatial_shape, channels=6, ground=False, density=1.1)
    used = zip(shape, y.spatial_shape, stride, padding, dilation, kernel, strict=True)
    extra = tuple(n + 2 * p - d * (k - 1) - 1 - (m - 1) * s for n, m, s, p, d, k in used)
    # Adjoint channel mixing, block by block.
    blocks = np.split(forward, groups, axis=2)
    backward = np.concatenate([b.transpose(0, 2, 1) for b in blocks], axis=2)
    back = reference.transposed_convolution(z, backward, output_padding=extra, **geometry)
    assert back.spatial_shape == shape
    left, right = (y.values * z.values).sum(), (x.values * back.values).sum()
    np.testing.assert_allclose(left, right, rtol=1e-12)


@pytest.mark.parametrize(("padding", "output_padding"), [(0, 0), (1, 0), (2, 1), (4, 0)])
def test_transposed_with_stride_1_extends_the_grid_by_its_background(padding, output_padding):
    rng = np.random.default_rng(5)
    x = random_grid(rng, (6, 5))
    weight, bias = rng.standard_normal((9, 4, 3)), rng.standard_normal(3)
    options = {"kernel_size": 3, "dilation": 2}
    out = reference.transposed_convolution(
        x, weight, bias, padding=padding, output_padding=output_padding, **options
    )
    # The same sum as a convolution with the mirrored kernel, far into the background.
    wide = reference.convolution(x, weight[::-1], bias, padding=12, **options)
    start = 12 - 4 + padding
    crop = tuple(slice(start, start + n) for n in out.spatial_shape)
    np.testing.assert_allclose(
        out.values, wide.values[(slice(None), slice(None), *crop)], atol=1e-13
    )
    np.testing.assert_array_equal(out.active, wide.active[(slice(None), *crop)])
    np.testing.assert_allclose(out.ground, wide.ground, atol=1e-13)


def test_transposed_with_a_larger_stride_acts_on_deviations():
    rng = np.random.default_rng(6)
    x = random_grid(rng, (4, 3))
    weight, bias = rng.standard_normal((9, 4, 3)), rng.standard_normal(3)
    options = {"kernel_size": 3, "stride": (1, 2), "padding": 1, "output_padding": (0, 1)}
    out = reference.transposed_convolution(x, weight, bias, **options)
    deviations = reference.Grid(x.values - x.ground[:, None, None], x.active)
    plain = reference.transposed_convolution(deviations, weight, **options)
    np.testing.assert_allclose(out.values, plain.values + bias[:, None, None], atol=1e-14)
    np.testing.assert_array_equal(out.ground, bias)
    np.testing.assert_array_equal(out.active, plain.active)
    assert out.spatial_shape == (4, 6)


@pytest.mark.parametrize("ground", [True, False])
def test_inverse_is_the_transposed_convolution_at_the_saved_sites(ground):
    rng = np.random.default_rng(7)
    x = random_grid(rng, (8, 7), ground=ground)
    geometry = {"kernel_size": 3, "stride": 2, "padding": 1}
    down = reference.convolution(x, rng.standard_normal((9, 4, 5)), **geometry)
    weight, bias = rng.standard_normal((9, 5, 2)), rng.standard_normal(2)
    back = reference.inverse_convolution(down, weight, bias, sites=x.active, **geometry)
    full = reference.transposed_convolution(down, weight, bias, output_padding=(1, 0), **geometry)
    mask = x.active[:, None]
    outside = bias[:, None, None] if ground else 0
    np.testing.assert_allclose(back.values, np.where(mask, full.values, outside), atol=1e-13)
    np.testing.assert_array_equal(back.active, x.active)


def test_inverse_gives_the_bias_where_no_tap_leads():
    sites = np.array([[0, 0], [0, 2]])  # kernel 1, stride 3: site 2 vanishes
    x = reference.scatter(np.ones((2, 1)), sites, (3,), 1)
    down = reference.convolution(x, np.ones((1, 1, 1)), kernel_size=1, stride=3)
    assert down.active.sum() == 1
    back = reference.inverse_convolution(
        down, np.full((1, 1, 1), 5.0), np.array([0.5]), sites=x.active, kernel_size=1, stride=3
    )
    np.testing.assert_array_equal(back.values[0, 0], [5.5, 0, 0.5])


def test_kernel_larger_than_the_grid_is_refused():
    x = random_grid(np.random.default_rng(0), (3,), channels=1)
    with pytest.raises(ValueError, match="does not fit"):
        reference.convolution(x, np.ones((4, 1, 1)), kernel_size=4)
    with pytest.raises(ValueError, match="expected 1 values"):
        reference.convolution(x, np.ones((4, 1, 1)), kernel_size=(2, 2))
