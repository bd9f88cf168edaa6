"""Frozen copies of networks use nothing of the original: methods, functions, results."""

import gc
import threading
from collections import OrderedDict, deque
from functools import cache, lru_cache, partial, wraps
from types import MethodType

import numpy as np
import pytest

import spconv
from spconv.autograd import record
from spconv.inference import freeze
from spconv.testing import random_sparse_tensor


class Bound(spconv.Module):
    """Runs its body by what it holds: a method, or one with arguments filled in."""

    def __init__(self, how):
        self.body = spconv.SparseSequential(spconv.SubMConv2d(3, 3, 3), spconv.BatchNorm(3))
        self.run = {"method": self.through, "partial": partial(self.through)}.get(how)
        if how == "forward":
            self.forward = self.through
        self.kept = deque([self.body])

    def through(self, x):
        return self.body(x)

    def forward(self, x):
        return self.run(x)


@pytest.mark.parametrize("how", ["method", "partial", "forward"])
def test_methods_that_a_module_holds_are_the_copys(how):
    net, x = Bound(how), random_sparse_tensor(np.random.default_rng(0), (6, 6), dtype=np.float32)
    net.body[1].running_mean = np.arange(3, dtype=np.float32)
    expected = net.eval()(x).features.data
    frozen, mean = freeze(net.train()), net.body[1].running_mean.copy()
    np.testing.assert_allclose(frozen(x).features.data, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(net.body[1].running_mean, mean)
    assert frozen.kept[0] is frozen.body
    assert frozen.body is not net.body


def decorated(function):
    @wraps(function)
    def call(*arguments):
        return function(*arguments)

    return call


def counting(body):
    """Two functions that share a variable."""
    calls = 0

    def run(x):
        nonlocal calls
        calls += 1
        return body(x)

    return run, lambda: calls


@pytest.mark.parametrize(
    "make",
    [
        lambda body: lambda x: body(x),
        lambda body: lambda x, part=body: part(x),
        lambda body: lambda x, *, part=body: part(x),
        lambda body: lambda x, parts=[body]: parts[0](x),
        lambda body: partial(lambda _, x: body(x), None),
        lambda body: decorated(body.forward),
        lambda body: decorated(decorated(body)),
        lambda body: counting(body)[0],
        lambda body: [decorated(body)][0],
    ],
)
def test_functions_that_enclose_a_part_of_the_network_enclose_the_copys(make):
    net, x = Bound("method"), random_sparse_tensor(np.random.default_rng(0), (6, 6))
    net.astype(np.float64).eval().run = make(net.body)
    expected = net(x).features.data
    frozen = freeze(net)
    for parameter in net.parameters():
        parameter.data = parameter.data + 1
    np.testing.assert_allclose(frozen(x).features.data, expected, atol=1e-12)
    assert np.abs(net(x).features.data - expected).max() > 1


def test_functions_keep_what_they_share_and_what_they_are():
    net, x = Bound("method"), random_sparse_tensor(np.random.default_rng(0), (6, 6))
    net.run, net.count = counting(net.astype(np.float64).body)
    net.run.note = [net.body]
    frozen = freeze(net)
    frozen(x)
    assert (frozen.count(), net.count()) == (1, 0)
    assert frozen.run.note == [frozen.body]
    assert frozen.run.__qualname__ == net.run.__qualname__
    late = net.run = lambda x: later(x, net.body)
    assert freeze(net).run is not late
    later = spconv.ReLU()


def test_functions_of_ones_own_and_kept_results_are_no_obstacle():
    net, lock = Bound("method"), threading.Lock()
    weight = net.body[0].weight

    def backward(gradient):
        with lock:
            return (gradient * weight.data,)

    net.last = record(2 * weight.data, (weight,), backward)  # copied without how it was made
    net.more = [np.tanh, len, decorated(np.sum), decorated(Bound), spconv.functional.cross_entropy]
    assert freeze(net).more == net.more


def test_what_cannot_be_copied_is_told():
    net = Bound("method")
    net.lock = threading.Lock()
    with pytest.raises(TypeError, match=r"a part of Bound cannot be copied: .*lock.*; keep it out"):
        freeze(net)


def test_containers_stay_what_they_are():
    net = Bound("method")
    net.parts = OrderedDict(a=spconv.BatchNorm(3), b=spconv.ReLU())
    frozen = freeze(net)
    assert type(frozen.parts) is OrderedDict
    assert not frozen.parts["a"].weight.requires_grad


def test_what_functions_hold_together_is_looked_through_once(monkeypatch):
    net, held, looked = Bound("method"), [[] for _ in range(1000)], []
    referents = gc.get_referents
    net.more = [lambda held=held: held for _ in range(5)]
    net.more += [lambda: held, lambda: net.more]  # one encloses no part, one does
    monkeypatch.setattr(
        gc, "get_referents", lambda entry: looked.append(id(entry)) or referents(entry)
    )
    freeze(net)
    assert all(looked.count(id(entry)) == 1 for entry in (held, *held))


def replaced(layer):
    """With its forward replaced by a method around it."""
    before = layer.forward

    def forward(self, x, **options):
        assert self.training is before.__self__.training
        return before(x, **options)

    layer.forward = MethodType(forward, layer)
    return layer


@pytest.mark.parametrize("around", ["forward", "hook"])
def test_methods_around_functions_that_enclose_a_part_are_the_copys(around):
    x = random_sparse_tensor(np.random.default_rng(0), (6, 6), dtype=np.float32)
    net = Bound("method")
    replaced(net.body[1])
    if around == "hook":
        net.run = partial(net.body[1].forward)
        net.first = net.run  # what it is bound to is copied through it
    expected = net.eval()(x).features.data
    frozen, mean = freeze(net.train()), net.body[1].running_mean
    np.testing.assert_array_equal(frozen(x).features.data, expected)
    assert net.body[1].running_mean is mean
    norm = frozen.body[1]
    assert norm.forward.__self__ is norm
    assert norm.forward.__func__ is not net.body[1].forward.__func__
    if around == "hook":
        assert frozen.run.func is norm.forward


def test_caches_of_what_encloses_a_part_start_empty():
    net = spconv.SparseSequential(spconv.Linear(3, 3))
    calls = []

    def total(bias=False):
        calls.append(bias)
        return float(sum(p.data.sum() for p in net.parameters() if bias or p.ndim > 1))

    net.total = lru_cache(7, typed=True)(total)
    net.total.note = [net]
    net.sum, net.far = cache(net[0].weight.sum), cache(np.sum)
    net.twice = lambda: 2 * net.total()
    before = net.total(), net.twice(), net.sum().data
    frozen = freeze(net)
    net[0].weight.data = net[0].weight.data + 1
    assert frozen.total.cache_info() == (0, 0, 7, 0)
    assert frozen.total.cache_parameters() == net.total.cache_parameters()
    assert (frozen.total(), frozen.twice(), frozen.sum().data) == before
    assert net.total.cache_info().misses == 1
    assert frozen.total.__name__ == "total"
    assert frozen.total.note == [frozen]
    assert frozen.far is net.far


def test_modules_that_functions_enclose_are_shared():
    import math

    net, x = Bound("method"), random_sparse_tensor(np.random.default_rng(0), (6, 6))
    net.run = lambda x, m=[math]: net.body(x) if math.pi == m[0].pi else None
    net.math = math
    assert freeze(net.eval())(x).features.data.any()
    assert freeze(net).math is math


@pytest.mark.parametrize("make", [threading.Lock, lambda: iter_of(3)])
def test_what_a_function_encloses_and_cannot_be_copied_is_told(make):
    net, held = Bound("method"), make()
    net.run = lambda x: net.body(x) if held else None
    where = r"in the variable held of .*is_told\.<locals>\.<lambda>; "
    with pytest.raises(TypeError, match=rf"a part of Bound cannot be copied: .*, {where}"):
        freeze(net)
    net.run = lambda x, *, held=held: net.body(x)
    with pytest.raises(TypeError, match=r", in the defaults of .*<lambda>; keep it out"):
        freeze(net)
    net.run.__kwdefaults__, net.run.note = None, held
    with pytest.raises(TypeError, match=r", in the attributes of .*<lambda>; keep it out"):
        freeze(net)


def iter_of(count):
    yield from range(count)


class Centered(spconv.Module):
    buffer_names = ("mean",)

    def __init__(self):
        self.mean = mean = np.zeros(3)
        self.center = lambda y: y - mean


def test_functions_that_enclose_a_buffer_enclose_the_copys():
    net = Centered()
    frozen = freeze(net)
    net.mean += 1
    assert not frozen.center(0.0).any()
    frozen.mean -= 1
    np.testing.assert_array_equal(frozen.center(0.0), np.ones(3))


def test_functions_keep_their_annotations():
    net = Bound("method")

    def run(x: int) -> float:
        return net.body(x)

    net.run = run
    frozen = freeze(net)
    assert frozen.run.__annotations__ == {"x": int, "return": float}
    assert frozen.run.__annotations__ is not run.__annotations__
