"""Pen strokes, many characters at a time: affine maps, and the sites that they pass.

Characters are packed: points (P, 2), `stroke_starts` (S + 1) among the points, and
`sample_starts` (B + 1) among the strokes. Callers check every argument.
"""

import numpy as np

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cdef extern from "pen_path.h" nogil:
    ctypedef struct PenCanvas:
        int64_t slots, sums
    int PEN_OCTOGRAM
    int pen_canvas_open(PenCanvas* canvas, int64_t height, int64_t width, int kind, int order,
                        double window)
    void pen_canvas_close(PenCanvas* canvas)
    int pen_stroke(PenCanvas* canvas, const double* points, int64_t count)
    int64_t pen_flush(PenCanvas* canvas, int32_t sample, int32_t* indices, float* features)

cdef extern from "pen_affine.h" nogil:
    void pen_affine(const double* points, const int64_t* stroke_starts, int64_t strokes,
                    const double* matrix, const double* shift, const double* knots,
                    int64_t num_knots, double spacing, double* out)


def path_sites(const double[:, ::1] points, const int64_t[::1] stroke_starts,
               const int64_t[::1] sample_starts, int64_t height, int64_t width,
               int kind, int order, double window):
    """The sites (batch, y, x), sorted, and features of paths in a grid of height x width cells.

    `points` are positions (x, y) in cells from the grid's corner. `kind` is 0 for occupancy, 1 for
    directions, 2 for octograms, 3 for signatures.
    """
    cdef PenCanvas canvas
    cdef int32_t* indices = NULL
    cdef float* features = NULL
    cdef void* grown
    cdef int64_t sample, stroke, channels, count = 0, capacity = 0
    cdef int64_t samples = sample_starts.shape[0] - 1
    cdef bint ok
    cdef int32_t[:, ::1] out_indices
    cdef float[:, ::1] out_features
    try:
        with nogil:
            ok = pen_canvas_open(&canvas, height, width, kind, order, window)
            channels = canvas.sums + (kind != PEN_OCTOGRAM)
            for sample in range(samples):
                if not ok:
                    break
                for stroke in range(sample_starts[sample], sample_starts[sample + 1]):
                    ok = ok and pen_stroke(&canvas, &points[stroke_starts[stroke], 0],
                                           stroke_starts[stroke + 1] - stroke_starts[stroke])
                if count + canvas.slots > capacity:
                    capacity = 2 * (count + canvas.slots)
                    grown = realloc(indices, capacity * 3 * sizeof(int32_t))
                    if grown != NULL:
                        indices = <int32_t*>grown
                    ok = ok and grown != NULL
                    grown = realloc(features, capacity * channels * sizeof(float))
                    if grown != NULL:
                        features = <float*>grown
                    ok = ok and grown != NULL
                if ok:
                    count += pen_flush(&canvas, <int32_t>sample, indices + 3 * count,
                                       features + channels * count)
        if not ok:
            raise MemoryError(f"encode_strokes: no memory for a grid of {height} x {width} cells")
        indices_array = np.empty((count, 3), np.int32)
        features_array = np.empty((count, channels), np.float32)
        if count:
            out_indices, out_features = indices_array, features_array
            memcpy(&out_indices[0, 0], indices, count * 3 * sizeof(int32_t))
            memcpy(&out_features[0, 0], features, count * channels * sizeof(float))
    finally:
        pen_canvas_close(&canvas)
        free(indices)
        free(features)
    return indices_array, features_array


def affine_points(const double[:, ::1] points, const int64_t[::1] stroke_starts,
                  const int64_t[::1] sample_starts, const double[:, :, ::1] matrices,
                  const double[:, ::1] shifts, const double[:, :, ::1] knots, double spacing):
    """Map each character by its own matrix, shift and wobble, about the middle of its box.

    With middle c and longer side h of a character's bounding box, a point p at arc length s (the
    strokes one after the other, jumps not counted) goes to ``c + matrix (p - c) + h (shift +
    wobble(s / (spacing h)))``; the wobble is the uniform cubic B-spline through the `knots`,
    (B, K, 2), repeated from the beginning after K of them, and none with K = 0.
    """
    cdef int64_t sample, first, samples = sample_starts.shape[0] - 1
    cdef int64_t num_knots = knots.shape[1]
    moved_array = np.empty((points.shape[0], 2))
    cdef double[:, ::1] moved = moved_array
    with nogil:
        for sample in range(samples):
            first = sample_starts[sample]
            if sample_starts[sample + 1] > first:
                pen_affine(&points[0, 0], &stroke_starts[first],
                           sample_starts[sample + 1] - first, &matrices[sample, 0, 0],
                           &shifts[sample, 0],
                           &knots[sample, 0, 0] if num_knots else NULL,
                           num_knots, spacing, &moved[0, 0])
    return moved_array
