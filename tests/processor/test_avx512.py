"""The kernels for AVX-512 on an emulated processor, in a few minutes."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# The emulator's wheel wants names of GNU's C library 2.38, where C23's number formats differ.
NAMES_OF_C23 = """
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
unsigned long long __isoc23_strtoull(const char *text, char **end, int base) {
    return strtoull(text, end, base);
}
int __isoc23_sscanf(const char *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    const int found = vsscanf(text, format, list);
    va_end(list);
    return found;
}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64", reason="needs x86-64 Linux"
    ),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """One in which the emulator can be imported."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "import bochscpu.cpu"]
    tried = subprocess.run(command, env=variables, capture_output=True, text=True)
    if "__isoc23_" in tried.stderr:
        folder = tmp_path_factory.mktemp("names")
        source, library = folder / "names.c", folder / "names.so"
        source.write_text(NAMES_OF_C23)
        subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", library], check=True)
        variables["LD_PRELOAD"] = str(library)
        tried = subprocess.run(command, env=variables, capture_output=True, text=True)
    if "No module named" in tried.stderr:
        pytest.skip("needs bochscpu: pip install bochscpu-python")
    assert not tried.returncode, tried.stderr
    return variables


def test_kernels_on_an_emulated_processor(environment):
    """AVX-512's convolutions are right, and all else has the bits that it has here."""
    checks = [sys.executable, str(HERE / "kernel_checks.py")]
    here = subprocess.run(checks, env=environment, capture_output=True, text=True, check=True)
    guest = [sys.executable, str(HERE / "linux_guest.py"), *checks]
    there = subprocess.run(guest, env=environment, capture_output=True, text=True)
    assert not there.returncode, there.stderr
    best, bits = there.stdout.split()
    assert (best, bits) == ("avx512", here.stdout.split()[1])


def test_a_program_that_fails_is_told(environment):
    code = "import sys; print('seen'); sys.exit(7)"
    command = [sys.executable, str(HERE / "linux_guest.py"), sys.executable, "-c", code]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (7, "seen\n")
