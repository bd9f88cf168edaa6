"""Adapter over the convolution on AMX tiles of amx_gemm.h; callers check every argument."""

import os

import numpy as np

from .memory import empty

from libc.stdint cimport int32_t, int64_t, uint16_t

cdef extern from "amx_detect.h" nogil:
    int AMX_NO_PERMISSION
    int amx_state(int* error)

cdef extern from "amx_gemm.h" nogil:
    ctypedef struct amx_convolution:
        const float* x
        const float* w
        const float* init
        const float* residual
        float* y
        const int32_t* in_rows
        const int32_t* out_rows
        const int64_t* starts
        int64_t num_out, volume, groups, cin, cout, w_offset, w_group, w_row, w_column
        uint16_t* tiles
        int64_t range_rows
        int parts, rectify, num_threads
        float slope

    int64_t amx_weight_size(const amx_convolution* c)
    void amx_convolve(const amx_convolution* c)

cdef extern from "ranges.h" nogil:
    int64_t SPCONV_RANGE_BYTES
    int64_t range_rows(int64_t num_rows, int64_t row_bytes, int64_t bytes, int64_t num_threads)

STATES = (
    "",
    "this build has no AMX code, which takes x86-64 Linux and GCC 11 or Clang 12 or later",
    "the processor lacks AMX-TILE, AMX-BF16 or AVX-512",
    "the operating system does not save the tile registers (Linux does from 5.16 on)",
    "Linux refused the tile registers to this process",
)


def missing():
    """What keeps this process from using AMX, or "" after Linux has granted it."""
    cdef int error
    cdef int state = amx_state(&error)
    return f"{STATES[state]}: {os.strerror(error)}" if state == AMX_NO_PERMISSION else STATES[state]


def convolve(const float[:, ::1] x, const float[:, :, ::1] w, float[:, ::1] y,
             const float[::1] init, const float[:, ::1] residual, const int32_t[::1] in_rows,
             const int32_t[::1] out_rows, const int64_t[::1] offset_starts, Py_ssize_t groups,
             bint transposed, bint rectify, double slope, int parts, int num_threads):
    """As ``convolution.convolve``, with operands split into 1 to 3 bfloat16 ``parts``."""
    cdef amx_convolution c
    cdef Py_ssize_t width = y.shape[1]
    if y.shape[0] == 0 or width == 0:
        return
    # Arrays without a number have no first one.
    c.x = &x[0, 0] if x.shape[0] and x.shape[1] else NULL
    c.w = &w[0, 0, 0] if w.shape[1] and w.shape[2] else NULL
    c.init = &init[0] if init is not None else NULL
    c.residual = &residual[0, 0] if residual is not None else NULL
    c.in_rows = &in_rows[0] if in_rows.shape[0] else NULL
    c.out_rows = &out_rows[0] if in_rows.shape[0] else NULL
    c.y, c.starts = &y[0, 0], &offset_starts[0]
    c.num_out, c.volume, c.groups = y.shape[0], w.shape[0], groups
    c.cin, c.cout = x.shape[1] // groups, width // groups
    c.w_offset, c.w_group = w.shape[1] * w.shape[2], w.shape[2] // groups
    c.w_row, c.w_column = w.shape[2], 1
    if transposed:
        c.w_row, c.w_column = 1, w.shape[2]
    c.parts, c.rectify, c.slope, c.num_threads = parts, rectify, slope, num_threads
    # Larger ranges than without AMX: the weights, which take more time to come, come less often.
    c.range_rows = range_rows(
        c.num_out, width * sizeof(float), 2 * SPCONV_RANGE_BYTES, num_threads
    )
    # One more: an address to hand over where there are no channels.
    cdef uint16_t[::1] tiles = empty(
        1 + int(c.volume) * int(groups) * int(amx_weight_size(&c)), np.uint16
    )
    c.tiles = &tiles[0]
    with nogil:
        amx_convolve(&c)
