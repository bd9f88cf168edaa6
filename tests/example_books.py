"""Small rulebooks of every shape that a kernel may meet."""

import numpy as np

import spconv

KINDS = ("regular", "down", "pointwise", "one pair", "no pairs", "no sites")


def make_book(kind="regular"):
    """More than one tile of outputs, an odd number of them; unsorted input sites."""
    rng = np.random.default_rng(0)
    indices = rng.permutation(np.argwhere(rng.random((2, 19, 15)) < 0.35))
    if kind == "down":  # some inputs reach no output
        return spconv.build_rulebook(indices, (19, 15), 2, 2, 3)
    if kind == "pointwise":
        return spconv.build_rulebook(indices, (19, 15), 2, 1, submanifold=True)
    if kind == "one pair":
        return spconv.build_rulebook(indices[:1], (19, 15), 2, 3, submanifold=True)
    if kind == "no pairs":
        return spconv.build_rulebook([[0, 1, 1], [1, 4, 4]], (19, 15), 2, 1, 3)
    if kind == "no sites":
        return spconv.build_rulebook([], (19, 15), 2, 3, submanifold=True)
    return spconv.build_rulebook(indices, (19, 15), 2, (3, 2), padding=1)
