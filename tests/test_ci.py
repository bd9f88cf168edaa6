"""Scripts of .ci that a machine without a GPU cannot run to their end."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "gpu"


def run(tmp_path, *arguments, smi=None):
    """With the tools of a bare system, and an ``nvidia-smi`` that prints ``smi``."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "dirname", "sed", "head", "cat"):
        place = next(Path(p, tool) for p in os.get_exec_path() if Path(p, tool).exists())
        (tools / tool).symlink_to(place)
    if smi is not None:
        (tmp_path / "smi.txt").write_text(smi)
        (tools / "nvidia-smi").write_text(f"#!{tools}/bash\ncat {tmp_path}/smi.txt\n")
        (tools / "nvidia-smi").chmod(0o755)
    return subprocess.run(
        [tools / "bash", SCRIPT, *arguments],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
    )


def test_without_a_device(tmp_path):
    result = run(tmp_path)
    assert result.returncode == 1
    assert "nvidia-smi finds no device; without one run .ci/run" in result.stderr


@pytest.mark.parametrize("smi", ["CUDA Version: 11.8  |", "no table at all"])
def test_old_drivers(tmp_path, smi):
    result = run(tmp_path, smi=f"| Driver Version: 1.2  {smi}\n")
    assert result.returncode == 1
    assert "CuPy needs 12 or 13: update the driver" in result.stderr


def test_unknown_steps(tmp_path):
    result = run(tmp_path, "tests", "everything")
    assert result.returncode == 2
    assert "expected tests, sanitize or benchmark, got 'everything'" in result.stderr
