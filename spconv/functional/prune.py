"""Some of the active sites, chosen by a mask, as generative networks choose them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spconv.checks import type_name
from spconv.compat import is_cupy
from spconv.functional._common import check_sparse, select
from spconv.sites import SiteSet
from spconv.tensor import SparseConvTensor


def prune(x: SparseConvTensor, keep: Any) -> SparseConvTensor:
    """The sites that a mask keeps, in their order; all others are inactive from then on.

    Those hold the ground state, or are absent without one. Features that go get no gradient but
    zero, and the choice itself has none. Rulebooks of the sites that stay are built anew and live
    with the result: masks of a network change in every step.

    Parameters
    ----------
    x : SparseConvTensor
    keep : bool array or list (N,)
        One for each row of the features, such as ``logits.features[:, 0] > 0``. One of a GPU is
        copied to the host, where sites are.

    Raises
    ------
    TypeError
        If ``x`` is no sparse tensor, or the mask has no bools.
    ValueError
        If there is not one of them for each site.

    Examples
    --------
    >>> import numpy as np
    >>> x = SparseConvTensor(np.array([[1.0], [-2.0], [3.0]]), [[0, 0], [0, 2], [0, 3]], (4,), 1)
    >>> prune(x, x.features[:, 0] > 0).dense().data
    array([[[1., 0., 0., 3.]]])
    """
    check_sparse("prune", x)
    rows = np.flatnonzero(_mask(keep, len(x.sites)))
    features = select(x.features, rows, axis=0)
    sites = SiteSet(x.indices[rows], x.spatial_shape, x.batch_size)
    result = x.derive(features, x.ground_state, sites, x.channels)
    result.rulebooks = x.rulebooks.branch()  # an input used again would keep them all
    return result


def _mask(keep: Any, count: int) -> NDArray[np.bool_]:
    kind = type_name(keep)
    if isinstance(keep, list | tuple):
        with suppress(ValueError):  # of several lengths
            keep = np.asarray(keep, None if len(keep) else bool)
    if not (isinstance(keep, np.ndarray) or is_cupy(keep)) or keep.dtype != bool:
        raise TypeError(
            f"prune: keep must be an array (N,) of bools, got {kind} of dtype "
            f"{getattr(keep, 'dtype', None)}; a comparison such as x.features[:, 0] > 0 is one"
        )
    if keep.shape != (count,):
        raise ValueError(
            f"prune: keep must have shape ({count},), one for each site, got {keep.shape}"
        )
    return keep.get() if is_cupy(keep) else keep
