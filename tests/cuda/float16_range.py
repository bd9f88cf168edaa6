"""Checks whose sums, squares or counts leave float16's range, for any engine."""

from __future__ import annotations

import numpy as np

import spconv
from spconv import functional
from spconv.testing import assert_close, tolerance

ROWS = 70_000
BOUND = tolerance("float16", 1)


def half(xp, array, requires_grad=False):
    return spconv.Tensor(xp.asarray(array.astype(np.float16)), requires_grad=requires_grad)


def host(array):
    return (array.get() if hasattr(array, "get") else array).astype(np.float64)


def rows(shift=30.0, count=ROWS, seed=0):
    x = shift + np.random.default_rng(seed).standard_normal((count, 2))
    return x.astype(np.float16).astype(np.float64)


def batch_norm(xp):
    x, dy = rows(), rows(shift=0.5, seed=1)
    results = []
    for make in (lambda a: half(xp, a, True), lambda a: spconv.Tensor(a, requires_grad=True)):
        tensors = [make(a) for a in (x, np.array([1.0, 2.0]), np.array([0.5, 0.0]))]
        y, mean, variance = functional.batch_norm(*tensors, 1e-5)
        y.backward(tensors[0].data * 0 + (xp.asarray(dy.astype(np.float16)) if not results else dy))
        results.append((y, mean, variance, tensors))
    (y, mean, variance, tensors), (wide, *expected, wide_tensors) = results
    assert y.dtype == tensors[1].grad.dtype == np.float16
    assert_close(host(y.data), wide.data, BOUND)
    assert_close(host(mean), expected[0], BOUND)
    assert_close(host(variance), expected[1], BOUND)
    for actual, exact in zip(tensors, wide_tensors, strict=True):
        assert_close(host(actual.grad), exact.grad, 4 * BOUND)


def moments_with_a_ground_state(xp):
    x, ground = rows(), np.array([40.0, 20.0])
    results = []
    for make in (lambda a: half(xp, a, True), lambda a: spconv.Tensor(a, requires_grad=True)):
        tensors = [make(a) for a in (x, ground)]
        statistics = functional.moments(*tensors, copies=80_000)
        options = statistics, make(np.ones(2)), make(np.zeros(2)), 1e-5
        y = functional.normalize(tensors[0], *options, tensors[1])
        g = functional.normalize(make(np.zeros(2)), *options)
        ((y * y).mean() + (g * g).mean()).backward()
        results.append((statistics, y, g))
    for actual, exact in zip(*results, strict=True):
        assert_close(host(actual.data), exact.data, 4 * BOUND)
    assert results[0][1].dtype == results[0][2].dtype == np.float16


def a_large_variance(xp):
    """Far beyond 65,504, in training and with running statistics."""
    x, norm = 1000 * rows(0.0, 500), spconv.BatchNorm(2, momentum=1.0)
    for array in (norm.weight, norm.bias):
        array.data = xp.asarray(array.data.astype(np.float16))
    norm.running_mean, norm.running_var = (
        xp.asarray(a) for a in (np.zeros(2, "f"), np.ones(2, "f"))
    )
    for features in (x, x):
        y = norm(half(xp, features))
        expected = (features - features.mean(axis=0)) / features.std(axis=0)
        assert y.dtype == np.float16
        assert_close(host(y.data), expected, 4 * BOUND)
        norm.eval()
    assert norm.running_var.dtype == np.float32


def layer_norm(xp):
    """Squares of 300 and more; sums of 70,000 gradients."""
    x, dy = (300 * rows(0.0)).astype(np.float16).astype(float), rows(shift=0.5, seed=1)
    results = []
    for make in (lambda a: half(xp, a, True), lambda a: spconv.Tensor(a, requires_grad=True)):
        tensors = [make(a) for a in (x, np.array([1.0, 2.0]), np.array([0.5, 0.0]))]
        y = functional.layer_norm(*tensors)
        y.backward(xp.asarray(dy.astype(np.float16)) if not results else dy)
        results.append((y, tensors))
    (y, tensors), (wide, wide_tensors) = results
    assert y.dtype == tensors[0].grad.dtype == tensors[1].grad.dtype == np.float16
    assert_close(host(y.data), wide.data, BOUND)
    for actual, exact in zip(tensors[1:], wide_tensors[1:], strict=True):
        assert_close(host(actual.grad), exact.grad, 4 * BOUND)


def group_norm(xp):
    """Sums of 70,000 rows and of their squares."""
    values, options = rows(), (1, half(xp, np.ones(2), True), half(xp, np.zeros(2), True))
    x = sparse(xp, values)
    y = functional.group_norm(x, *options).features
    expected = (values - values.mean()) / values.std()
    assert y.dtype == np.float16
    assert_close(host(y.data), expected, BOUND)
    y.backward(xp.full(y.shape, 0.5, np.float16))
    assert_close(host(x.features.grad), np.zeros(values.shape), BOUND)
    assert_close(host(options[2].grad), np.full(2, 35_000.0), BOUND)


def cross_entropy(xp):
    """The sum of losses and the number of rows are too large, the gradient needs its scale."""
    for count, classes in ((60_000, 19), (ROWS, 2)):
        logits = half(xp, np.zeros((count, classes)), True)
        labels = np.arange(count) % classes
        loss = functional.cross_entropy(logits, labels)
        assert loss.dtype == np.float16
        assert_close(host(loss.data), np.array(np.log(classes)), BOUND)
        loss.backward(xp.full((), 2.0**14, np.float16))
        expected = np.full((count, classes), 1 / classes)
        expected[np.arange(count), labels] -= 1
        assert_close(host(logits.grad), expected * 2.0**14 / count, BOUND)


def means(xp):
    x = half(xp, rows(), True)
    mean = x.mean()
    assert mean.dtype == np.float16
    assert_close(host(mean.data), rows().mean(), BOUND)
    mean.backward(xp.full((), 2.0**14, np.float16))
    assert_close(host(x.grad), np.full((ROWS, 2), 2.0**13 / ROWS), BOUND)


def sparse(xp, values, ground=None, shape=(300, 250)):
    """The first sites of the grid are active."""
    indices = np.argwhere(np.ones((1, *shape), bool))[: len(values)].astype(np.int32)
    x = spconv.SparseConvTensor(values.astype(np.float32), indices, shape, 1)
    return x.derive(half(xp, values, True), None if ground is None else half(xp, ground, True))


def global_average(xp):
    for count in (10_000, ROWS):
        for ground in (None, np.array([50.0, -20.0])):
            values = rows()[:count]
            x = sparse(xp, values, ground)
            y = functional.global_avg_pool(x)
            expected = values.mean(axis=0)
            if ground is not None:
                expected = (values.sum(axis=0) + (75_000 - count) * ground) / 75_000
            assert y.dtype == np.float16
            assert_close(host(y.data)[0], expected, BOUND)
            y.backward(xp.full((1, 2), 2.0**14, np.float16))
            share = 2.0**14 / (count if ground is None else 75_000)
            assert_close(host(x.features.grad), np.full((count, 2), share), BOUND)


def average_of_windows(xp):
    """Sixteen values of 10,000 each."""
    geometry = spconv.geometry.Geometry.make(2, 4, 4)
    for ground in (None, np.array([-10_000.0, 10_000.0])):
        x = sparse(xp, np.full((64, 2), 10_000.0), ground, (8, 8))
        y = functional.sparse_avg_pool(x, geometry)
        assert y.features.dtype == np.float16
        assert_close(host(y.features.data), np.full((4, 2), 10_000.0), BOUND)


def a_ground_state_in_a_dense_grid(xp):
    """Its gradient is a difference of two sums that are too large each."""
    x = sparse(xp, rows(), np.zeros(2))
    y = x.dense()
    y.backward(xp.ones(y.shape, np.float16))
    assert_close(host(x.ground_state.grad), np.full(2, 5_000.0), BOUND)


CHECKS = (
    batch_norm,
    moments_with_a_ground_state,
    a_large_variance,
    layer_norm,
    group_norm,
    cross_entropy,
    means,
    global_average,
    average_of_windows,
    a_ground_state_in_a_dense_grid,
)
