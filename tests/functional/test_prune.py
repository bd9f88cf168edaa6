"""What a mask keeps, what it leaves of the rest, and what is built for it."""

import numpy as np
import pytest

import spconv
from spconv import functional
from spconv.testing import assert_sparse_equal, assert_twin, random_sparse_tensor
from spconv.testing.reference import only_where, submanifold

pytestmark = pytest.mark.usefixtures("engine")
with_or_without_ground = pytest.mark.parametrize("ground", [True, False], ids=["ground", "bare"])


def example(**options):
    rng = np.random.default_rng(0)
    return random_sparse_tensor(rng, (7, 6), 3, empty_samples=[1], **options)


def kept_where(x, keep):
    """The mask of the grid's sites that stay active."""
    active = np.zeros((x.batch_size, *x.spatial_shape), bool)
    active[tuple(x.indices[keep].T)] = True
    return active


@with_or_without_ground
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_equals_a_grid_with_the_background_put_back(share, ground):
    rng = np.random.default_rng(1)
    x = example(ground=ground)
    keep = rng.random(len(x)) < share
    active = kept_where(x, keep)
    assert_twin(
        lambda x: functional.prune(x, keep), lambda grid, _: only_where(grid, active), x, rng=rng
    )


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_is_a_mask(kind):
    x = example()
    keep = np.arange(len(x)) % 3 > 0
    pruned = functional.prune(x, kind(keep.tolist()))
    assert_sparse_equal(pruned, functional.prune(x, keep), tolerance=0)
    nothing = functional.prune(x, np.zeros(len(x), bool))
    assert len(functional.prune(nothing, kind())) == 0


@with_or_without_ground
def test_a_convolution_behind_it_sees_the_background_there(ground):
    rng = np.random.default_rng(2)
    x, conv = example(ground=ground), spconv.SubMConv2d(3, 2, 3)
    parameters = {"weight": conv.weight, "bias": conv.bias}
    for parameter in parameters.values():
        parameter.data = rng.standard_normal(parameter.shape)
    keep = rng.random(len(x)) < 0.6
    active = kept_where(x, keep)

    def twin(grid, p):
        return submanifold(only_where(grid, active), p["weight"], p["bias"], kernel_size=3)

    assert_twin(
        lambda x: conv(functional.prune(with_a_rulebook(x), keep)), twin, x, parameters, rng=rng
    )


def with_a_rulebook(x):
    """The same tensor, which knows a rulebook of its sites already."""
    spconv.SubMConv2d(3, 2, 3, bias=False)(x.derive(x.features.detach(), None))
    return x


def test_rows_stay_in_their_order():
    x = example(shuffle=True, ground=False)
    keep = np.random.default_rng(3).random(len(x)) < 0.5
    y = functional.prune(x, keep)
    np.testing.assert_array_equal(y.indices, x.indices[keep])
    np.testing.assert_array_equal(y.features.data, x.features.data[keep])
    fresh = spconv.SparseConvTensor(y.features, y.indices, x.spatial_shape, x.batch_size)
    conv = spconv.SparseConv2d(3, 4, 3, 2, rng=np.random.default_rng(0))
    assert_sparse_equal(conv(y), conv(fresh), tolerance=0)


def test_what_goes_has_a_gradient_of_zero():
    x = example(ground=False)
    features = spconv.Parameter(x.features.data)
    x = x.replace_feature(features)
    keep = features.data[:, 0] > 0
    functional.prune(x, features[:, 0] > 0).features.sum().backward()
    np.testing.assert_array_equal(features.grad, np.repeat(keep[:, None], 3, 1))


@with_or_without_ground
def test_nothing_of_nothing(ground):
    x = example(density=0.0, ground=ground)
    y = functional.prune(x, np.zeros(0, bool))
    assert (len(y), y.num_channels, y.batch_size) == (0, 3, 3)


def test_the_callers_mask_may_change():
    x = example(ground=False)
    features = spconv.Parameter(x.features.data)
    keep = np.ones(len(x), bool)
    y = functional.prune(x.replace_feature(features), keep)
    keep[:] = False
    y.features.sum().backward()
    assert features.grad.all()


def test_rulebooks_live_with_the_result():
    x, conv = example(ground=False), spconv.SubMConv2d(3, 3, 3)
    conv(x)
    before = len(x.rulebooks._built)
    for seed in range(3):
        conv(functional.prune(x, np.random.default_rng(seed).random(len(x)) < 0.5))
    assert len(x.rulebooks._built) == before


def test_a_convolution_in_front_is_inverted_on_its_own_sites_only():
    x = example(ground=False)
    down = spconv.SparseConv2d(3, 4, 2, 2, indice_key="down")
    up = spconv.SparseInverseConv2d(4, 2, 2, indice_key="down")
    y = down(x)
    pruned = functional.prune(y, np.arange(len(y)) % 2 == 0)
    with pytest.raises(ValueError, match=r"only the output of that layer, or tensors on the same"):
        up(pruned)
    whole = functional.prune(y, np.ones(len(y), bool))
    assert_sparse_equal(up(whole), up(y), tolerance=0)


@with_or_without_ground
def test_it_joins_what_it_came_from(ground):
    x = example(ground=ground)
    keep = np.random.default_rng(4).random(len(x)) < 0.5
    y = functional.add(functional.prune(x, keep), x, union=True)
    background = x.ground_state.data if ground else 0
    expected = x.features.data + np.where(keep[:, None], x.features.data, background)
    np.testing.assert_allclose(y.features.data, expected)
    with pytest.raises(ValueError, match="the tensors have different sites"):
        functional.add(functional.prune(x, keep), x)


@with_or_without_ground
def test_dropped_channels_stay_dropped(ground):
    x = example(ground=ground)
    kept = functional.draw_channels(3, 0.5, np.random.default_rng(0))
    keep = np.random.default_rng(4).random(len(x)) < 0.5
    dropped = functional.prune(functional.batchwise_dropout(x, kept), keep)
    assert dropped.channels is kept
    expected = functional.batchwise_dropout(functional.prune(x, keep), kept)
    np.testing.assert_array_equal(dropped.dense().data, expected.dense().data)


def test_float32_stays_so():
    x = example(dtype=np.float32)
    y = functional.prune(x, np.arange(len(x)) > 4)
    assert (y.features.dtype, y.ground_state.dtype) == (np.float32, np.float32)
