"""What to do about a state that does not fit a module, as far as its paths and shapes tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spconv.compat import Array

COUNTER = "num_batches_tracked"
INNER = ".layer."
"""What stands before the entries of a convolution that :func:`spconv.inference.freeze` folded.

A user's own attribute may have that name, so what the layer is decides, where that is known.
"""


def remedy(
    state: Mapping[str, Any], own: Mapping[str, Array], modules: Mapping[str, Any]
) -> str | None:
    """Advice that fits the whole misfit; None where nothing tells where the state is from.

    Parameters
    ----------
    state : mapping of paths to arrays
    own : mapping of paths to arrays
        Those of the module.
    modules : mapping of paths to modules
        It and those below it.
    """
    # These are modules, whose class needs this file.
    from spconv.layers.frozen import FrozenConvolution
    from spconv.layers.fusion import TAKE_RESIDUAL, has_forward_of

    if not all(isinstance(path, str) for path in state):  # all advice is of strings
        return None
    missing = {path for path in own if path not in state}
    unexpected = {path for path in state if path not in own}
    plain = {path for path, layer in modules.items() if has_forward_of(layer, TAKE_RESIDUAL)}
    if _are_inner(unexpected, missing, plain):
        return "it may be that of a frozen network: load it into inference.freeze(net)"
    frozen = {path for path, layer in modules.items() if isinstance(layer, FrozenConvolution)}
    if _are_inner(missing, unexpected, frozen):
        return "this network is frozen and the state's may not be: load the state, then freeze"
    if head := _prefix(unexpected, missing):
        return (
            f"its paths begin with {head!r}, which those of this module do not: pass "
            f"{{path.removeprefix({head!r}): array for path, array in state.items()}}"
        )
    if head := _prefix(missing, unexpected):
        return f"it is that of a part: load it into .{head[:-1]}"
    if _is_of_pytorch(state, own):
        return "of a network in PyTorch convert it: porting.from_pytorch(state, net)"
    return None


def _are_inner(longer: set[str], shorter: set[str], convolutions: set[str]) -> bool:
    """Whether some of the longer paths are shorter ones of these but for ``INNER``."""
    parts = (path.rpartition(".") for path in shorter)
    return any(f"{head}{INNER}{name}" in longer for head, _, name in parts if head in convolutions)


def _prefix(longer: set[str], shorter: set[str]) -> str | None:
    """With what the longer paths begin, if they are the shorter ones but for that."""
    heads = {path.partition(".")[0] + "." for path in longer if path.rpartition(".")[2] != COUNTER}
    if len(heads) != 1 or not shorter:
        return None
    (head,) = heads
    return head if {path.removeprefix(head) for path in longer} >= shorter else None


def _is_of_pytorch(state: Mapping[str, Any], own: Mapping[str, Array]) -> bool:
    """Counters of batches, weights with an axis for each of the kernel's, and transposed ones."""
    if any(path.rpartition(".")[2] == COUNTER for path in state):
        return True
    shapes = [(np.shape(state[path]), own[path].shape) for path in own if path in state]
    return any(
        len(own) == 3 < len(theirs) or (len(own) == 2 and own != theirs == own[::-1])
        for theirs, own in shapes
    )
