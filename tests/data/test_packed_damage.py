"""Flat strokes whose arrays do not fit together, and positions that are no numbers."""

import numpy as np
import pytest

from spconv.data import Affine, encode_strokes, make_strokes
from spconv.data.packed import PackedStrokes, pack_strokes


@pytest.mark.parametrize(
    "damaged",
    [
        PackedStrokes(np.zeros((2, 2)), np.array([0, 5]), np.array([0, 1])),
        PackedStrokes(np.zeros((2, 2)), np.array([0, 0, 2]), np.array([0, 2])),
        PackedStrokes(np.zeros((2, 2)), np.array([0, 2]), np.array([0, 2])),
        PackedStrokes(np.zeros((2, 2)), np.array([1, 2]), np.array([0, 1])),
    ],
)
def test_starts_that_do_not_fit_are_refused(damaged):
    with pytest.raises(ValueError, match="do not fit together"):
        encode_strokes(damaged, 24, fit=False)


def test_characters_may_come_from_a_generator():
    strokes, _ = make_strokes(3)
    assert len(pack_strokes(character for character in strokes)) == 3


def test_positions_that_are_no_numbers_are_background():
    with np.errstate(all="ignore"):
        image = Affine(max_shear=4e38, pad=2)(
            np.ones((2, 9, 9), np.uint8), np.random.default_rng(0)
        )
    assert image.shape[0] == 2
