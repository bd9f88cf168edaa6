"""What the sums of a convolution start from, and what becomes of them on their way to memory."""

from __future__ import annotations

from typing import NamedTuple

from spconv.compat import Array


class Epilogue(NamedTuple):
    """Sums start from ``init + residual`` and end in :meth:`spconv.ops.Ops.leaky_relu`.

    Parameters
    ----------
    init : array (C_out,), optional
        The same for all sites.
    residual : array (N_out, C_out), optional
        Of the result's dtype.
    slope : float, optional
        Of the rectifier; None for none.
    """

    init: Array | None = None
    residual: Array | None = None
    slope: float | None = None


PLAIN = Epilogue()
"""Sums from zero, as they are."""
