"""Random rulebooks, and the convolution and its gradients in plain NumPy, for the kernel tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STORAGE = {"float16": np.float16, "bfloat16": np.uint16, "float": np.float32, "double": np.float64}


@dataclass
class Pairs:
    in_rows: NDArray[np.int32]
    out_rows: NDArray[np.int32]
    starts: NDArray[np.int64]
    num_in: int
    num_out: int

    @property
    def volume(self) -> int:
        return len(self.starts) - 1

    def of(self, k: int) -> tuple[NDArray, NDArray]:
        part = slice(self.starts[k], self.starts[k + 1])
        return self.in_rows[part], self.out_rows[part]


def partners(widths: tuple[int, ...], couts=(1, 7, 16, 32, 64, 96, 183)) -> list[tuple[int, int]]:
    """Pairs (cin, cout): two output widths for every input width, each of them at least once.

    Tails of input channels and tiles of output channels have no code in common.
    """
    return [(cin, couts[(3 * i + j) % len(couts)]) for i, cin in enumerate(widths) for j in (0, 1)]


def random_pairs(rng, num_in: int, num_out: int, volume: int, density: float) -> Pairs:
    """Pairs grouped by offset and sorted by output row; no row twice on a side of an offset."""
    in_rows, out_rows, starts = [], [], [0]
    for _ in range(volume):
        count = int(rng.binomial(min(num_in, num_out), density))
        in_rows.append(rng.permutation(num_in)[:count])
        out_rows.append(np.sort(rng.permutation(num_out)[:count]))
        starts.append(starts[-1] + count)
    ints = (np.concatenate(rows).astype(np.int32) for rows in (in_rows, out_rows))
    return Pairs(*ints, np.array(starts), num_in, num_out)


def to_storage(x: NDArray, storage: str) -> NDArray:
    """Round to a storage format; bfloat16 is the upper half of float32 as uint16."""
    if storage != "bfloat16":
        return np.ascontiguousarray(x, STORAGE[storage])
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_storage(x: NDArray) -> NDArray[np.float64]:
    if x.dtype == np.uint16:
        x = (x.astype(np.uint32) << 16).view(np.float32)
    return x.astype(np.float64)


def kernel_array(x: NDArray) -> NDArray:
    """float16 is a structure of two bytes to the kernels: hand its bits over."""
    return x.view(np.uint16) if x.dtype == np.float16 else x


def convolve(x, w, pairs: Pairs, groups: int = 1) -> NDArray[np.float64]:
    """``y[out] += x[in] W_k``, w (K, cin, groups * cout), in float64."""
    cin, cout = w.shape[1], w.shape[2] // groups
    y = np.zeros((pairs.num_out, groups, cout))
    for k in range(pairs.volume):
        in_rows, out_rows = pairs.of(k)
        part = x[in_rows].reshape(-1, groups, cin)
        y[out_rows] += np.einsum("pgc,cgo->pgo", part, w[k].reshape(cin, groups, cout))
    return y.reshape(pairs.num_out, groups * cout)


def weight_gradient(x, dy, pairs: Pairs, groups: int = 1) -> NDArray[np.float64]:
    """``dW_k = sum of x[in]^T dy[out]``, (K, cin, groups * cout), in float64."""
    cin, cout = x.shape[1] // groups, dy.shape[1] // groups
    dw = np.zeros((pairs.volume, cin, groups, cout))
    for k in range(pairs.volume):
        in_rows, out_rows = pairs.of(k)
        dw[k] = np.einsum(
            "pgc,pgo->cgo",
            x[in_rows].reshape(-1, groups, cin),
            dy[out_rows].reshape(-1, groups, cout),
        )
    return dw.reshape(pairs.volume, cin, groups * cout)


def to_tf32(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounded to 11 bits, ties away from zero."""
    return ((x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def pack(w, groups: int = 1, transposed: bool = False, mirrored: bool = False) -> NDArray:
    """What pack_weights.cu makes of w (K, cin, groups * cout) of a storage format."""
    volume, cin = w.shape[:2]
    matrices = w.reshape(volume, cin, groups, -1)[:: -1 if mirrored else 1].transpose(2, 0, 3, 1)
    if transposed:
        matrices = matrices.transpose(0, 1, 3, 2)
    padding = -matrices.shape[3] % (16 // w.itemsize)
    return np.ascontiguousarray(np.pad(matrices, ((0, 0), (0, 0), (0, 0), (0, padding))))


def relative_error(result, expected) -> float:
    """Largest error over the largest result."""
    scale = np.abs(expected).max(initial=0) or 1.0
    return float(np.abs(result - expected).max(initial=0) / scale)
