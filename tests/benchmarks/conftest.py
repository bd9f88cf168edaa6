"""The benchmarks are scripts in a folder, not a package: put it, and this folder, on the path."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
BENCHMARKS = HERE.parents[1] / "benchmarks"
for folder in (HERE, BENCHMARKS):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


@pytest.fixture
def benchmarks_folder():
    return BENCHMARKS
