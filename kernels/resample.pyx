"""Images: bilinear resampling under affine maps and smooth displacements, and inked pixels.

Callers check every argument.
"""

import numpy as np

from cython cimport floating
from libc.math cimport ceil, fabs, floor, rint
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

ctypedef fused pixel:
    uint8_t
    float
    double


def resample(const pixel[:, :, ::1] images, const double[:, :, ::1] inverse,
             const double[:, ::1] shift, const double[:, :, :, ::1] knots, double spacing,
             floating[::1] scratch, pixel[:, :, ::1] out):
    """out[b] at p reads images[b], bilinearly, at inverse[b] (p - shift[b] - u(p)).

    p and the place are positions (x, y) from the middles of the output and of the image; outside
    of the image there are zeros. u is the uniform cubic B-spline through the `knots`, (B, Ky, Kx,
    2), `spacing` pixels apart, the second row and column of them at the output's corner; there is
    none if Ky is 0. `scratch` has (H + 3) (W + 3) + 7 W' + 2 Kx numbers, W' the output's width.
    """
    cdef int64_t height = images.shape[1], width = images.shape[2], stride = width + 3
    cdef int64_t rows = out.shape[1], columns = out.shape[2], splines = knots.shape[2]
    cdef int64_t b, i, j, k, knot, at_x, at_y, first, last
    cdef int64_t ink[4]  # first column and row, and behind the last ones
    cdef bint elastic = knots.shape[1] > 0
    cdef double x0, y0, place, xx, xy, yx, yy, slack_x, slack_y
    cdef floating x, y, ux, uy, near, far, value, along_x, along_y
    cdef floating most_x = width + 1, most_y = height + 1
    cdef floating row_weight[4]
    cdef floating* source = &scratch[0]
    cdef floating* base_x = source + (height + 3) * stride
    cdef floating* base_y = base_x + columns
    cdef floating* weights = base_y + columns  # (columns, 5): the last is the first knot
    cdef floating* mixed = weights + 5 * columns  # (splines, 2)
    cdef const floating* corner
    cdef const floating* weight
    cdef const pixel* image
    with nogil:
        memset(source, 0, (height + 3) * stride * sizeof(floating))
        if elastic:
            for j in range(columns):
                place = j / spacing
                _spline(<floating>(place - floor(place)), weights + 5 * j)
                weights[5 * j + 4] = <floating>floor(place)
        for b in range(images.shape[0]):
            ink[0], ink[1], ink[2], ink[3] = width, height, 0, 0
            for i in range(height):
                image = &images[b, i, 0]
                for j in range(width):
                    source[(i + 1) * stride + j + 1] = image[j]
                    if image[j] != 0:
                        ink[0], ink[2] = min(ink[0], j), max(ink[2], j + 1)
                        ink[1], ink[3] = min(ink[1], i), i + 1
            xx, xy = inverse[b, 0, 0], inverse[b, 0, 1]
            yx, yy = inverse[b, 1, 0], inverse[b, 1, 1]
            x0 = (columns - 1) / 2.0 + shift[b, 0]
            y0 = (rows - 1) / 2.0 + shift[b, 1]
            for j in range(columns):
                base_x[j] = <floating>(xx * (j - x0) + ((width - 1) / 2.0 + 1))
                base_y[j] = <floating>(yx * (j - x0) + ((height - 1) / 2.0 + 1))
            # Rounding moves positions by less.
            slack_x = 0.01 + 1e-6 * (fabs(xx) * columns + fabs(xy) * rows + width)
            slack_y = 0.01 + 1e-6 * (fabs(yx) * columns + fabs(yy) * rows + height)
            for i in range(rows):
                along_x = <floating>(xy * (i - y0))
                along_y = <floating>(yy * (i - y0))
                first, last = 0, columns
                if elastic:
                    place = i / spacing
                    knot = <int64_t>place
                    _spline(<floating>(place - knot), row_weight)
                    for k in range(2 * splines):
                        value = 0
                        for at_y in range(4):
                            value += row_weight[at_y] * <floating>(&knots[b, knot + at_y, 0, 0])[k]
                        mixed[k] = value
                else:
                    _narrow(base_x[0] + along_x, xx, ink[0] - slack_x, ink[2] + 1 + slack_x,
                            &first, &last)
                    _narrow(base_y[0] + along_y, yx, ink[1] - slack_y, ink[3] + 1 + slack_y,
                            &first, &last)
                    memset(&out[b, i, 0], 0, columns * sizeof(pixel))
                for j in range(first, last):
                    x = base_x[j] + along_x
                    y = base_y[j] + along_y
                    if elastic:
                        weight = weights + 5 * j
                        corner = mixed + 2 * <int32_t>weight[4]
                        ux = uy = 0
                        for k in range(4):
                            ux += weight[k] * corner[2 * k]
                            uy += weight[k] * corner[2 * k + 1]
                        x -= <floating>xx * ux + <floating>xy * uy
                        y -= <floating>yx * ux + <floating>yy * uy
                    x = (most_x if x > most_x else x) if x > 0 else 0  # and where it is NaN
                    y = (most_y if y > most_y else y) if y > 0 else 0
                    at_x = <int32_t>x
                    at_y = <int32_t>y
                    x -= at_x
                    y -= at_y
                    corner = source + at_y * stride + at_x
                    near = corner[0] + (corner[1] - corner[0]) * x
                    far = corner[stride] + (corner[stride + 1] - corner[stride]) * x
                    value = near + (far - near) * y
                    if pixel is uint8_t:
                        out[b, i, j] = <uint8_t>rint(value)
                    else:
                        out[b, i, j] = <pixel>value


cdef inline void _narrow(double start, double step, double low, double high, int64_t* first,
                         int64_t* last) noexcept nogil:
    """Leave out the columns j whose position `start + j * step` is not between the bounds."""
    cdef double near = low - start, far = high - start
    if step < 0:
        near, far, step = -far, -near, -step
    if near > 0:  # else the first position is in, or behind
        first[0] = max(first[0], <int64_t>ceil(near / step)) if near < last[0] * step else last[0]
    if far < last[0] * step:
        last[0] = max(first[0], <int64_t>floor(far / step) + 1) if far >= 0 else first[0]


cdef inline void _spline(floating t, floating* weight) noexcept nogil:
    """Weights of the uniform cubic B-spline's four knots, t in [0, 1) beyond the second."""
    cdef floating r = 1 - t
    weight[0] = r * r * r / 6
    weight[1] = (4 + t * t * (3 * t - 6)) / 6
    weight[2] = (4 + r * r * (3 * r - 6)) / 6
    weight[3] = t * t * t / 6


def inked_pixels(const pixel[:, :, ::1] images, double least, double scale,
                 const int64_t[:, ::1] corners, int64_t height, int64_t width,
                 floating[:, ::1] features, int32_t[:, ::1] indices):
    """Rows (image, y, x) of all pixels not below or at `least`, and their values times `scale`.

    The pixel (0, 0) of image b lies at corners[b] = (y, x). Returns how many lie outside of a grid
    of height x width. `count_inked` tells how many rows the arrays must have.
    """
    cdef int64_t b, i, j, y, x, count = 0, outside = 0, width_in = images.shape[2]
    cdef bint zero_is_ink = not 0 <= least
    cdef const pixel* row
    with nogil:
        for b in range(images.shape[0]):
            for i in range(images.shape[1]):
                row = &images[b, i, 0]
                y = i + corners[b, 0]
                j = -1
                while True:
                    j = j + 1 if zero_is_ink else _behind_zeros(row, j + 1, width_in)
                    if j >= width_in:
                        break
                    if not row[j] <= least:  # what is no number is ink too: it has to be seen
                        x = j + corners[b, 1]
                        indices[count, 0] = <int32_t>b
                        indices[count, 1] = <int32_t>y
                        indices[count, 2] = <int32_t>x
                        features[count, 0] = <floating>row[j] * <floating>scale
                        outside += y < 0 or y >= height or x < 0 or x >= width
                        count += 1
    return outside


cdef inline int64_t _behind_zeros(const pixel* row, int64_t j, int64_t end) noexcept nogil:
    """The first position from j on, before the end, that may hold no zero."""
    cdef uint64_t word
    cdef int64_t step = 8 // sizeof(pixel)
    while j + step <= end:
        memcpy(&word, row + j, 8)
        if word:
            break
        j += step
    return j


def count_inked(const pixel[::1] values, double least):
    """How many values are greater than `least`, or no numbers."""
    cdef int64_t i, count = 0
    cdef int most = 256 if least > 255 else -1 if least < 0 else <int>floor(least)
    with nogil:
        for i in range(values.shape[0]):
            if pixel is uint8_t:
                count += values[i] > most
            else:
                count += not values[i] <= least
    return count
