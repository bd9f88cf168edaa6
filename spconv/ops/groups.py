"""Weights and products of grouped convolutions, in plain array operations."""

from __future__ import annotations

from types import ModuleType

from spconv.compat import Array


def transposed_weight(w_kco: Array, groups: int) -> Array:
    """(K, C_in/groups, C_out) -> (K, C_out/groups, C_in)."""
    volume, cin, cout = w_kco.shape
    w = w_kco.reshape(volume, cin, groups, cout // groups)
    return w.transpose(0, 3, 2, 1).reshape(volume, cout // groups, groups * cin)


def grouped_matmul(xp: ModuleType, x_pc: Array, w_co: Array, groups: int) -> Array:
    """(P, C_in) times (C_in/groups, C_out): every group of channels by its own columns."""
    if groups == 1:
        return x_pc @ w_co
    x = x_pc.reshape(len(x_pc), groups, -1)
    w = w_co.reshape(w_co.shape[0], groups, -1)
    return xp.einsum("pgc,cgo->pgo", x, w).reshape(len(x_pc), w_co.shape[1])
