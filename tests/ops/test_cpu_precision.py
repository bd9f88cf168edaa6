"""set_cpu_precision on any processor; ``tests/amx`` has the arithmetic."""

import contextvars
import platform

import pytest

import spconv
from spconv.kernels import amx
from spconv.ops.precision import CPU_PRECISIONS


def test_the_default_is_float32():
    assert contextvars.Context().run(spconv.get_cpu_precision) == "float32"
    spconv.set_cpu_precision("float32")


def test_unknown_names():
    message = r"set_cpu_precision: expected one of \('float32', 'bfloat16x3', .*\), got 'tf32'"
    with pytest.raises(ValueError, match=message):
        spconv.set_cpu_precision("tf32")


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
