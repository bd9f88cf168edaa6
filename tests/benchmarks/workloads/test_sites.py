import numpy as np
import pytest
from workloads.sites import pen_strokes, random_sites, surfaces

import spconv


@pytest.mark.parametrize(
    "make",
    [
        lambda: pen_strokes(24, 3),
        lambda: surfaces(2, 16),
        lambda: surfaces(3, 12, batch_size=2),
        lambda: surfaces(4, 6),
        lambda: random_sites((9, 7), 0.3, batch_size=2),
        lambda: random_sites((4, 4), 1.0),
    ],
)
def test_workloads_are_valid_sites_and_the_same_every_time(make):
    sites, again = make(), make()
    assert sites.indices.dtype == np.int32
    assert sites.indices.tobytes() == again.indices.tobytes()
    assert 0 < len(sites) <= sites.num_cells
    # The constructor checks that the sites are distinct and in range.
    x = spconv.SparseConvTensor(
        sites.features(2), sites.indices, sites.spatial_shape, sites.batch_size
    )
    assert x.sites.order is None
    assert len(np.unique(sites.indices[:, 0])) == sites.batch_size


def test_random_sites_have_the_wanted_density():
    assert random_sites((50, 40), 0.1, batch_size=3).density == pytest.approx(0.1)


def test_surfaces_get_sparser_as_the_grid_grows():
    assert surfaces(3, 40).density < 0.6 * surfaces(3, 16).density


def test_shuffled_sites_are_the_same_set():
    sites = surfaces(3, 10)
    mixed = sites.shuffled()
    assert not np.array_equal(mixed.indices, sites.indices)
    assert set(map(tuple, mixed.indices)) == set(map(tuple, sites.indices))


def test_tensors_share_no_cache():
    sites = random_sites((8, 8), 0.2)
    features = spconv.Tensor(sites.features(2))
    first, second = sites.tensor(features), sites.tensor(features)
    assert first.rulebooks is not second.rulebooks
    assert first.sites is not second.sites
    assert first.features is second.features
