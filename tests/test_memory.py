"""The memory of the compiled engine's arrays: aligned, kept, counted, never shared by two."""

import gc
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spconv
from spconv.kernels import memory
from spconv.memory import combined, copied, joined

LARGE = 300_000  # bytes; small arrays are NumPy's own


@pytest.fixture(autouse=True)
def own_cache():
    spconv.set_memory_cache(0)
    spconv.set_memory_cache(2**26)
    yield
    spconv.set_memory_cache(0)
    spconv.set_memory_cache(2**30)


@given(st.integers(0, 200_000), st.sampled_from(["f4", "f8", "i4", "u8"]))
def test_an_array_has_the_shape_and_type_that_was_asked_for(count, dtype):
    array = memory.zeros((count, 3), dtype)
    assert array.shape == (count, 3)
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert not array.any()
    array[...] = 1  # every byte is there
    assert memory.empty(count, dtype).shape == (count,)


def test_rows_are_aligned_to_cache_lines():
    assert all(memory.empty((n, 16), "f4").ctypes.data % 64 == 0 for n in (300, 5000, 100_000))


def test_memory_is_kept_and_used_again():
    array = memory.empty(LARGE, np.uint8)
    place = array.ctypes.data
    assert spconv.get_memory_cache() == 0
    del array
    assert spconv.get_memory_cache() >= LARGE
    assert memory.empty(LARGE, np.uint8).ctypes.data == place
    assert memory.zeros(LARGE, np.uint8).sum() == 0


def test_a_view_keeps_its_memory():
    array = memory.empty(LARGE, np.uint8)
    view = array[5:]
    del array
    assert spconv.get_memory_cache() == 0
    other = memory.zeros(LARGE, np.uint8)
    view[...] = 7
    assert not other.any()


def test_at_most_the_limit_is_kept():
    spconv.set_memory_cache(2 * LARGE)
    arrays = [memory.empty(LARGE, np.uint8) for _ in range(4)]
    del arrays
    assert 0 < spconv.get_memory_cache() <= 2 * LARGE
    spconv.set_memory_cache(0)
    assert spconv.get_memory_cache() == 0


def test_tracemalloc_sees_the_arrays():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        array = memory.empty(LARGE, np.uint8)
        during = tracemalloc.get_traced_memory()[0]
        del array
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert LARGE <= during - before < 1.2 * LARGE
    assert after - before < 2000


def test_an_impossible_size_raises():
    with pytest.raises(MemoryError, match="spconv: no memory for an array of"):
        memory.empty(2**60, np.uint8)


def test_a_negative_limit_raises():
    with pytest.raises(ValueError, match="set_memory_cache: num_bytes must be at least 0, got -1"):
        spconv.set_memory_cache(-1)


@pytest.mark.slow
def test_threads_and_collections_do_not_share_a_block():
    """Blocks die in garbage collections and in threads, and no two arrays ever overlap."""
    wrong = []

    def work(number):
        for turn in range(300):
            cycle = [memory.empty(20_000 + 100 * (turn % 7), np.uint8)]
            cycle.append(cycle)  # freed by the collector only
            array = memory.empty(20_000 + 100 * (turn % 5), np.uint8)
            array[...] = number
            if turn % 50 == 0:
                gc.collect()
            if not (array == number).all():
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def in_kept_memory(array):
    return type(array.base).__name__ == "Block"


def test_sums_and_copies_of_large_arrays_have_kept_memory():
    rng = np.random.default_rng(0)
    a, row = rng.standard_normal((5000, 16)), rng.standard_normal(16)
    view = np.broadcast_to(row, a.shape)
    for b in (a + 1, row, view):
        result = combined(np.subtract, a, b)
        np.testing.assert_array_equal(result, a - b)
        assert in_kept_memory(result)
    copy = copied(a)
    assert in_kept_memory(copy)
    assert not np.shares_memory(copy, a)
    np.testing.assert_array_equal(copy, a)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("function", [np.add, np.subtract, np.multiply])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (301, 7), (100, 301, 7)])
def test_large_results_are_numpy_s_for_any_number_of_threads(monkeypatch, threads, function, shape):
    monkeypatch.setattr("spconv.memory.threads_for", lambda nanoseconds: threads)
    rng = np.random.default_rng(0)
    for dtype in ("f4", "f8", "f2", ">f4", ">f8"):
        a = rng.standard_normal((100, 301, 1 if shape == (1,) else 7)).astype(dtype)
        b = np.asarray(rng.standard_normal(shape), dtype)
        np.testing.assert_array_equal(combined(function, a, b), function(a, b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((5000, 16)), np.ones((5000, 16), "f4")),
        (np.ones((5000, 16)), np.ones((5000, 1))),
        (np.ones(16), np.ones((5000, 16))),
        (np.ones((5000, 1)), np.ones((5000, 16))),
        (np.ones((3, 2)), np.ones((3, 2))),
        (np.ones(()), np.ones(())),
        (np.ones((16, 5000)).T, np.ones((5000, 16))),
    ],
    ids=["dtypes", "columns", "row first", "column first", "small", "scalars", "transposed"],
)
def test_all_others_are_numpy_s_own(a, b):
    result = combined(np.add, a, b)
    assert result.shape == (a + b).shape
    assert result.dtype == (a + b).dtype
    assert result.strides == (a + b).strides
    assert not in_kept_memory(np.asarray(result))


def test_copies_are_in_c_order():
    a = np.arange(80_000.0).reshape(16, 5000).T
    copy = copied(a)
    assert copy.flags.c_contiguous
    assert in_kept_memory(copy)
    np.testing.assert_array_equal(copy, a)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_joined_arrays_are_those_of_numpy(axis):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((400, 300)), rng.standard_normal((400, 300)).astype("f4")
    result = joined([a, b], axis, np.dtype("f8"))
    np.testing.assert_array_equal(result, np.concatenate([a, b], axis=axis))
    assert in_kept_memory(result)
    assert joined([b, b], axis, np.dtype("f4")).dtype == np.float32
