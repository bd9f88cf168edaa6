"""Run on an emulated processor: AVX-512's convolutions against the specification, and a hash.

Prints the best instruction set and the hash of what must have the same bits on every processor.
"""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from engine_checks import compare, random, roundings
from example_books import make_book

from spconv.ops import CpuOps, Epilogue
from spconv.ops.cpu import INSTRUCTION_SETS, convolution

WIDTHS = [(1, 1), (3, 7), (7, 16), (13, 33), (16, 60), (17, 64), (33, 1), (64, 97), (70, 80)]
GROUPS = [(16, 32, 2), (6, 6, 6), (130, 70, 2)]


def check_convolutions(ops, dtype):
    """Whole and broken vectors, narrow layers and wide ones, forward and back."""
    book = make_book("regular")
    rng = np.random.default_rng(0)
    for cin, cout, groups in [*((*widths, 1) for widths in WIDTHS), *GROUPS]:
        x = random(rng, dtype, len(book.in_sites), cin)
        dy = random(rng, dtype, len(book.out_sites), cout)
        w = random(rng, dtype, book.volume, cin // groups, cout)
        length = book.volume * max(cin, cout) // groups
        for epilogue in (Epilogue(), Epilogue(random(rng, dtype, cout), dy, 0.25)):
            compare(ops, dtype, length, "convolve", x, w, book, groups, epilogue=epilogue)
        options = {"transposed": True}
        compare(ops, dtype, length, "convolve", dy, w, book.inverse, groups, **options)
        compare(ops, dtype, len(x), "weight_gradient", x, dy, book, groups)


def check_rounding(ops, dtype):
    """Every path fuses products and sums: the bits of a row do not depend on the rows beside it."""
    for cin, cout in WIDTHS:
        seen = roundings(ops, dtype, cin, cout, rows=25)
        assert seen == {1.0}, (dtype, cin, cout, seen)


def hash_of_the_rest():
    """Normalization, pooling, rectifiers and optimizer steps, whatever vectors they are made of."""
    ops, book, rng = CpuOps(), make_book("down"), np.random.default_rng(1)
    digest = hashlib.sha256()
    for dtype in (np.float32, np.float64):
        for channels in (1, 5, 16, 33):
            x = random(rng, dtype, len(book.in_sites), channels)
            weight, bias, dy = random(rng, dtype, 3, channels)[:, None]
            y, moments = ops.batch_norm(x, weight[0], bias[0], 1e-3, 0.1)
            ones = np.ones_like(x) * dy
            gradients = ops.batch_norm_gradient(ones, x, y, weight[0], moments, 1e-3, 0.1)
            largest, winner = ops.max_pairs(x, book, bias[0])
            back = ops.max_pairs_gradient(largest, winner, book)
            sums = ops.sum_pairs(x, book)
            rectified = ops.leaky_relu(x, 0.3)
            normal, statistics = ops.layer_norm(x, weight[0], bias[0], 1e-3)
            more = ops.layer_norm_gradient(ones, x, weight[0], statistics)
            gradients += (normal, statistics, *more)
            if dtype == np.float32:  # others by NumPy and SciPy
                gradients += tuple(ops.gate(9 * x, kind) for kind in ("silu", "gelu"))
                gradients += tuple(
                    ops.gate_gradient(9 * x, dy * ones, kind) for kind in ("silu", "gelu")
                )
            for array in (y, moments, *gradients, largest, winner, back, sums, rectified):
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    best = INSTRUCTION_SETS[convolution.best_isa()]
    if best == "avx512":
        for kind in (np.float32, np.float64):
            check_convolutions(CpuOps("avx512"), kind)
            check_rounding(CpuOps("avx512"), kind)
    print(best, hash_of_the_rest())
