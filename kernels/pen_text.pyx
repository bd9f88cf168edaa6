"""Text of pen trajectories: one point a line, strokes begun by a line with a given word."""

import numpy as np

from libc.stdint cimport int64_t

cdef enum:
    MAX_DIGITS = 9


def parse_points(const unsigned char[::1] text, const unsigned char[::1] pen_down, bint merge):
    """Points float32 (P, 2) and where strokes begin among them, int64 (S,).

    A line that begins with a digit or a minus sign (after blanks) is a point: its first two
    numbers, whatever else follows. A line that begins with `pen_down` begins a stroke. All other
    lines are ignored. With `merge`, a point equal to the one before in its stroke is left out.
    A stroke without points is left out.
    """
    cdef const unsigned char* at
    cdef const unsigned char* end
    cdef int64_t size = text.shape[0], word = pen_down.shape[0], capacity, i
    cdef int64_t count = 0, strokes = 0, line = 0, value, digits
    cdef int which, problem = 0
    cdef bint fresh = True, begun = False, negative
    cdef float pair[2]
    capacity = size // 4 + 1  # a point takes four bytes at least: "1 2\n"
    points_array = np.empty((capacity, 2), np.float32)
    starts_array = np.empty(capacity, np.int64)
    cdef float[:, ::1] points = points_array
    cdef int64_t[::1] starts = starts_array
    if size == 0:
        return points_array[:0].copy(), starts_array[:0].copy()
    at = &text[0]
    end = at + size
    with nogil:
        while at < end and not problem:
            line += 1
            while at < end and (at[0] == c' ' or at[0] == c'\t'):
                at += 1
            if at < end and (c'0' <= at[0] <= c'9' or at[0] == c'-'):
                for which in range(2):
                    while at < end and (at[0] == c' ' or at[0] == c'\t'):
                        at += 1
                    negative = at < end and at[0] == c'-'
                    at += negative
                    value = 0
                    digits = 0
                    while at < end and c'0' <= at[0] <= c'9' and digits <= MAX_DIGITS:
                        value = value * 10 + (at[0] - c'0')
                        digits += 1
                        at += 1
                    if (digits == 0 or digits > MAX_DIGITS
                            or (at < end and at[0] > c' ')):  # any blank or line end
                        problem = 1
                        break
                    pair[which] = -value if negative else value
                if problem:
                    break
                if not begun:
                    problem = 2
                    break
                if fresh or not merge or (points[count - 1, 0] != pair[0]
                                          or points[count - 1, 1] != pair[1]):
                    if fresh:
                        starts[strokes] = count
                        strokes += 1
                        fresh = False
                    points[count, 0] = pair[0]
                    points[count, 1] = pair[1]
                    count += 1
            elif end - at >= word:
                i = 0
                while i < word and at[i] == pen_down[i]:
                    i += 1
                if i == word:
                    fresh = True
                    begun = True
            while at < end and at[0] != c'\n':
                at += 1
            at += 1
    if problem == 1:
        raise ValueError(f"expected two whole numbers x y of at most {MAX_DIGITS} digits in "
                         f"line {line}")
    if problem == 2:
        raise ValueError(f"expected {bytes(pen_down).decode()} before the point of line {line}")
    return points_array[:count].copy(), starts_array[:strokes].copy()
