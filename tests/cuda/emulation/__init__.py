"""Runs the CUDA sources of ``kernels/cuda`` on the CPU, unchanged.

A test compiles a ``.cu`` file with macros and calls a kernel with NumPy arrays::

    from emulation import emulate

    y = np.zeros(1000, np.float32)
    emulate("scale", grid=8, block=128, args=(x, y, np.float32(2), np.int64(1000)),
            defines={"STORAGE": "float"}, shared=0, order="reverse")

Arrays are changed in place, as on a device; scalars must have the kernel's exact types (CuPy passes
``np.int32(n)`` as four bytes and ``n`` as eight). ``np.intp(0)`` is a null pointer. ``kernel=``
names a kernel other than the file's. ``order`` is the order in which blocks, warps and lanes take
turns ("forward", "reverse", "random" with ``seed``): a race shows in one of them. With
``truncating=True`` tensor cores align, cut and add as measurements say that a device's do
(``tensor_core.cpp``); otherwise their sums are exact but for one rounding. The libraries are cached
in ``build/emulation`` by the hash of everything that went into them.

What is caught: writes outside an array (guard bytes around each), reads of shared memory before it
is written (poison: NaN), missing barriers, asynchronous copies that are read too early or never
waited for, misaligned copies and matrix loads, shared memory out of bounds, warp operations of
lanes that never meet, deadlocks. What is not: speed, bank conflicts, registers, races between
blocks. Nothing here has been certified on a device:
``test_fragments_gpu.py`` does that where there is one.
"""

from emulation.call import ORDERS, EmulationError, emulate

__all__ = ["ORDERS", "EmulationError", "emulate"]
