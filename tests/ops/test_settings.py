"""Settings of the whole process; ``tests/amx`` and ``tests/cuda`` have the arithmetic."""

import platform
from threading import Thread

import pytest

import spconv
from spconv.kernels import amx
from spconv.ops.settings import CPU_PRECISIONS

SETTINGS = {
    "cpu_precision": ("float32", "bfloat16x2"),
    "cuda_precision": ("float32", "tf32"),
    "cuda_tuning": (False, True),
}
"""Default, and another value."""


@pytest.mark.parametrize("name", SETTINGS)
def test_every_thread_has_the_setting(monkeypatch, name):
    monkeypatch.setattr(amx, "missing", lambda: "")
    default, other = SETTINGS[name]
    get, change = (getattr(spconv, f"{verb}_{name}") for verb in ("get", "set"))
    seen = []

    def look_and_put_back():
        seen.append(get())
        change(default)

    assert get() == default
    change(other)
    try:
        thread = Thread(target=look_and_put_back)
        thread.start()
        thread.join()
        assert seen == [other]
        assert get() == default
    finally:
        change(default)


def test_unknown_precisions():
    message = r"set_cpu_precision: expected one of \('float32', 'bfloat16x3', .*\), got 'tf32'"
    with pytest.raises(ValueError, match=message):
        spconv.set_cpu_precision("tf32")


def test_tuning_is_on_or_off():
    with pytest.raises(TypeError, match="set_cuda_tuning: expected True or False, got 'fast'"):
        spconv.set_cuda_tuning("fast")
    assert spconv.get_cuda_tuning() is False


@pytest.mark.parametrize("state", range(1, 5))
@pytest.mark.parametrize("precision", CPU_PRECISIONS[1:])
def test_without_amx_the_error_says_what_is_missing(monkeypatch, precision, state):
    monkeypatch.setattr(amx, "missing", lambda: amx.STATES[state])
    with pytest.raises(ValueError, match="set_cpu_precision: 'bfloat16") as raised:
        spconv.set_cpu_precision(precision)
    assert f"needs a processor with AMX, and {amx.STATES[state]}" in str(raised.value)
    assert 'stay with "float32"' in str(raised.value)
    assert spconv.get_cpu_precision() == "float32"


def test_detection_agrees_with_linux():
    """What the processor has is what /proc/cpuinfo lists; permission is asked for on top."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        assert amx.missing() == amx.STATES[1]
        return
    with open("/proc/cpuinfo") as file:
        flags = next((line for line in file if line.startswith("flags")), "").split()
    needed = {"amx_tile", "amx_bf16", "avx512f", "avx512bw", "avx512vl", "avx512dq"}
    if needed <= set(flags):
        assert amx.missing() == "" or amx.missing().startswith(amx.STATES[4])
    else:
        assert amx.missing() in amx.STATES[1:4]
