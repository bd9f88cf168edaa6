"""A tensor on given sites: what was active, what was not, and what is built for them."""

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.testing import assert_sparse_equal, assert_twin, random_sparse_tensor
from spconv.testing.reference import only_where, submanifold

pytestmark = pytest.mark.usefixtures("engine")
with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])


def example(seed=0, **options):
    rng = np.random.default_rng(seed)
    return random_sparse_tensor(rng, (7, 6), 3, empty_samples=[1], **options)


def some_sites(share, seed=1):
    return np.argwhere(np.random.default_rng(seed).random((3, 7, 6)) < share)


def mask_of(sites):
    mask = np.zeros((3, 7, 6), bool)
    mask[tuple(np.asarray(sites).T)] = True
    return mask


@with_or_without_ground
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("density", [0.0, 0.3])
def test_equals_the_grid_at_those_sites(share, ground, density):
    sites = some_sites(share)
    assert_twin(
        lambda x: functional.on_sites(x, sites),
        lambda grid, _: only_where(grid, mask_of(sites)),
        example(ground=ground, density=density),
        rng=np.random.default_rng(2),
    )


@with_or_without_ground
def test_a_convolution_behind_it_sees_all_of_them(ground):
    rng = np.random.default_rng(2)
    conv, sites = spconv.SubMConv2d(3, 2, 3), some_sites(0.5)
    parameters = {"weight": conv.weight, "bias": conv.bias}
    for parameter in parameters.values():
        parameter.data = rng.standard_normal(parameter.shape)

    def twin(grid, p):
        asked = only_where(grid, mask_of(sites))
        return submanifold(asked, p["weight"], p["bias"], kernel_size=3)

    assert_twin(
        lambda x: conv(functional.on_sites(x, sites)),
        twin,
        example(ground=ground),
        parameters,
        rng=rng,
    )


def test_rows_are_in_the_order_of_the_sites():
    x = example(ground=False, shuffle=True)
    sites = np.random.default_rng(2).permutation(some_sites(0.5))
    y = functional.on_sites(x, sites.tolist())
    np.testing.assert_array_equal(y.indices, sites)
    rows = x.rows_at(sites)
    np.testing.assert_array_equal(y.features.data[rows >= 0], x.features.data[rows[rows >= 0]])
    assert not y.features.data[rows < 0].any()
    assert_sparse_equal(functional.on_sites(x, x.indices), x, tolerance=0)


@with_or_without_ground
def test_back_to_the_sites_that_an_inverse_convolution_needs(ground):
    x = example(ground=ground)
    down = spconv.SparseConv2d(3, 4, 2, 2, indice_key="down")
    up = spconv.SparseInverseConv2d(4, 2, 2, indice_key="down")
    for layer in (down, up):
        layer.astype("float64")
    y = down(x)
    pruned = functional.prune(y, np.arange(len(y)) % 2 == 0)
    back = functional.on_sites(pruned, y)
    assert back.sites is y.sites
    assert up(back).sites is x.sites
    assert (back + y).sites is y.sites
    np.testing.assert_array_equal(back.features.data[::2], y.features.data[::2])


def test_rulebooks_live_with_what_they_are_for():
    x, conv = example(ground=False), spconv.SubMConv2d(3, 3, 3).astype("float64")
    other = x.derive(x.features, None)
    assert functional.on_sites(x, other).rulebooks is x.rulebooks
    conv(x)
    before = len(x.rulebooks._built)
    for seed in range(3):
        conv(functional.on_sites(x, some_sites(0.5, seed)))
    assert len(x.rulebooks._built) == before


def test_a_named_layer_on_either_input():
    x, other = example(ground=False), example(ground=False)
    conv = spconv.SubMConv2d(3, 3, 3, indice_key="both").astype("float64")
    conv(other)
    book = other.rulebooks.named("both")
    y = functional.on_sites(x, other)
    conv(y)
    assert y.rulebooks.named("both") is book
    assert not x.rulebooks._built


def test_dropped_channels_stay_dropped():
    x = functional.batchwise_dropout(example(), spconv.tensor.KeptChannels(np.array([0, 2]), 3))
    y = functional.on_sites(x, some_sites(0.5))
    assert y.channels is x.channels
    assert y.num_channels == 2


@pytest.mark.parametrize(
    ("sites", "error", "message"),
    [
        ([[0, 7, 0]], ValueError, "on_sites: indices row 0 is .*, outside batch_size 3"),
        ([[0, 1, 1], [0, 1, 1]], ValueError, r"on_sites: site \(0, 1, 1\) is given twice"),
        (
            [[0, 1, 1], [0, 1]],
            ValueError,
            "on_sites: .* 1 \\+ ndim = 3 columns in every row: .*inhom",
        ),
        ([[0.5, 1, 1]], TypeError, "on_sites: indices must be integers"),
        (example().indices[:, :2], ValueError, r"on_sites: indices must have 1 \+ ndim = 3 col"),
        (spconv.from_dense(np.ones((3, 1, 7, 7))), ValueError, "on_sites: .* different grids: "),
    ],
)
def test_errors(sites, error, message):
    with pytest.raises(error, match=message):
        functional.on_sites(example(), sites)
