"""Tasks of weight gradients that a kernel makes: those of the specification."""

import numpy as np
import pytest
from emulation import EmulationError
from fake_cupy import RawKernel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spconv.ops.cuda.tasks import make_tasks
from spconv.ops.cuda.tiles import split_pairs


def check(cupy, counts, longest):
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    expected = split_pairs(starts, longest)
    device = cupy.asarray(np.array(counts, np.int32))
    for given_counts in (device, None):  # None: uploaded
        for value, wanted in zip(
            make_tasks(cupy, starts, longest, given_counts), expected, strict=True
        ):
            assert value.dtype == wanted.dtype
            np.testing.assert_array_equal(value.get(), wanted)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=st.lists(st.integers(0, 20000), min_size=1, max_size=40),
    longest=st.sampled_from([1 << 40, 512, 700, 19999]),
)
def test_as_the_specification(cupy, counts, longest):
    check(cupy, counts, longest)


@pytest.mark.parametrize("volume", [256, 2047, 2048, 2049, 5000])
def test_more_offsets_than_threads(cupy, rng, volume):
    check(cupy, rng.integers(0, 1200, volume), 512)


def test_without_pairs(cupy):
    check(cupy, [0, 0, 0], 512)


def test_nothing_is_uploaded_where_the_device_has_the_counts(emulated, monkeypatch):
    counts = emulated.asarray(np.array([3, 600], np.int32))
    monkeypatch.delattr(emulated, "asarray")
    RawKernel.launches.clear()
    make_tasks(emulated, np.array([0, 3, 603]), 512, counts)
    assert RawKernel.launches == ["split_pairs"]


BUGS = {
    "rounded down": {"(counts[k] + longest - 1) / longest": "counts[k] / longest"},
    "without a barrier": {"= 0;\n    __syncthreads();": "= 0;"},
    "pairs of other offsets": {"offset_starts[k] +": "offset_starts[0] +"},
    "the sums of the first items": {"lower = before + upto - sum": "lower = upto - sum"},
}


@pytest.mark.parametrize("bug", BUGS)
def test_injected_bugs_are_caught(emulated, inject, monkeypatch, rng, bug):
    monkeypatch.setattr(RawKernel, "order", "reverse")
    counts = rng.integers(0, 1200, 2100)
    check(emulated, counts, 600)
    inject(BUGS[bug])
    with pytest.raises((AssertionError, EmulationError, IndexError)):
        check(emulated, counts, 600)
