"""Optimizer steps in place; callers check every argument."""

from cython cimport floating
from cython.parallel cimport prange
from libc.stdint cimport int64_t

cdef extern from "optimizer.h" nogil:
    void sgd_f32(float* value, const float* grad, float* velocity, float lr, float momentum,
                 int nesterov, float decay, int64_t count)
    void sgd_f64(double* value, const double* grad, double* velocity, double lr, double momentum,
                 int nesterov, double decay, int64_t count)
    void adam_f32(float* value, const float* grad, float* mean, float* square, float beta1,
                  float rest1, float beta2, float rest2, float correction, float eps, float rate,
                  float decay, float shrink, int64_t count)
    void adam_f64(double* value, const double* grad, double* mean, double* square, double beta1,
                  double rest1, double beta2, double rest2, double correction, double eps,
                  double rate, double decay, double shrink, int64_t count)

cdef Py_ssize_t BLOCK = 1 << 14


def sgd(floating[::1] value, const floating[::1] grad, floating[::1] velocity, double lr,
        double momentum, bint nesterov, double decay, int num_threads):
    """See `spconv.ops.Ops.sgd_step`; velocity may be None."""
    cdef Py_ssize_t count = value.shape[0], block, first
    cdef floating* v = NULL
    if velocity is not None and count:
        v = &velocity[0]
    for block in prange((count + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        first = block * BLOCK
        if floating is float:
            sgd_f32(&value[first], &grad[first], v + first if v != NULL else NULL, <float>lr,
                    <float>momentum, nesterov, <float>decay, min(BLOCK, count - first))
        else:
            sgd_f64(&value[first], &grad[first], v + first if v != NULL else NULL, lr, momentum,
                    nesterov, decay, min(BLOCK, count - first))


def adam(floating[::1] value, const floating[::1] grad, floating[::1] mean, floating[::1] square,
         double beta1, double rest1, double beta2, double rest2, double correction, double eps,
         double rate, double decay, double shrink, int num_threads):
    """See `spconv.ops.Ops.adam_step`."""
    cdef Py_ssize_t count = value.shape[0], block, first
    for block in prange((count + BLOCK - 1) // BLOCK, nogil=True, schedule="static",
                        num_threads=num_threads):
        first = block * BLOCK
        if floating is float:
            adam_f32(&value[first], &grad[first], &mean[first], &square[first], <float>beta1,
                     <float>rest1, <float>beta2, <float>rest2, <float>correction, <float>eps,
                     <float>rate, <float>decay, <float>shrink, min(BLOCK, count - first))
        else:
            adam_f64(&value[first], &grad[first], &mean[first], &square[first], beta1, rest1,
                     beta2, rest2, correction, eps, rate, decay, shrink, min(BLOCK, count - first))
