"""Tools to test layers and networks with: dense references, gradient checks, comparisons."""

from spconv.testing import reference
from spconv.testing.gradients import check_gradients
from spconv.testing.rulebook import ReferenceRulebook, reference_rulebook
from spconv.testing.sparse import (
    assert_close,
    assert_matches_grid,
    assert_sparse_equal,
    random_sparse_tensor,
    to_grid,
)
from spconv.testing.tolerances import tolerance
from spconv.testing.twin import assert_gradients, assert_twin, directional_derivative, randomize

__all__ = [
    "ReferenceRulebook",
    "assert_close",
    "assert_gradients",
    "assert_matches_grid",
    "assert_sparse_equal",
    "assert_twin",
    "check_gradients",
    "directional_derivative",
    "random_sparse_tensor",
    "randomize",
    "reference",
    "reference_rulebook",
    "to_grid",
    "tolerance",
]
