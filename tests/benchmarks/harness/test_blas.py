"""Which kernels NumPy's BLAS is asked for."""

import pytest
from harness import blas


@pytest.mark.parametrize(
    ("about", "core"),
    [
        ("vendor_id : AuthenticAMD\nflags : fma avx2 avx512f avx512vl\n", "SkylakeX"),
        ("vendor_id : AuthenticAMD\nflags : fma avx2\n", None),
        ("vendor_id : GenuineIntel\nflags : fma avx2 avx512f\n", None),
        (None, None),
    ],
)
def test_avx512_is_asked_for_where_openblas_does_not_find_it(monkeypatch, tmp_path, about, core):
    path = tmp_path / "cpuinfo"
    if about is not None:
        path.write_text(about)
    monkeypatch.setattr(blas, "CPU_INFO", path)
    wanted = blas.one_fast_core()
    assert wanted["OPENBLAS_NUM_THREADS"] == "1"
    assert wanted.get("OPENBLAS_CORETYPE") == core
