"""Rulebooks of whole grids: which are kept for the next call."""

import numpy as np
import pytest

import spconv
from spconv.functional import dense
from spconv.geometry import Geometry

ONE = Geometry.make(1, 3)
SIZE = 3 * 8 + 10 + 8
"""Pairs and sites of ``ONE`` over ten sites."""


@pytest.fixture
def built(monkeypatch):
    """Shapes of the grids that rulebooks are built for; there is room for two or three."""
    shapes = []

    def build(sites, *arguments):
        shapes.append(sites.spatial_shape)
        return spconv.rulebook.build(sites, *arguments)

    monkeypatch.setattr(dense, "build", build)
    monkeypatch.setattr(dense, "_kept", {})
    monkeypatch.setattr(dense, "SIZE_KEPT", 3 * SIZE)
    return shapes


def test_a_rulebook_is_built_once_for_all_layers(built):
    x = spconv.Tensor(np.ones((1, 1, 6, 5), np.float32))
    for _ in range(2):
        spconv.Conv2d(1, 2, 2, stride=2)(x)
        spconv.MaxPool2d(2)(x)
        spconv.functional.dense_max_pool(x, Geometry.make(2, 2, 2))
    assert built == [(6, 5)]


def test_those_used_last_are_kept(built):
    for size in (9, 10, 9, 11, 10, 12):
        dense._whole_grid((size,), ONE, "owner")
    assert built == [(9,), (10,), (11,), (12,)]
    assert [shape for (shape, _) in dense._kept] == [(10,), (12,)]


def test_of_large_ones_the_last_is_kept(built):
    for size in (10, 1000, 1000, 2000, 2000, 10):
        dense._whole_grid((size,), ONE, "owner")
    assert built == [(10,), (1000,), (2000,), (10,)]
    assert [shape for (shape, _) in dense._kept] == [(10,)]


def test_what_fails_is_not_kept(built):
    for owner in ("one", "other"):
        with pytest.raises(ValueError, match=f"{owner}: padding .* leaves windows without any"):
            dense._whole_grid((4,), Geometry.make(1, 1, padding=1), owner)
    assert not dense._kept
