"""Importing the package: fast, quiet, and without the libraries that it may do without."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 0.3  # seconds
MEASURE = """
import json, sys, time
start = time.process_time()  # what other processes do meanwhile does not count
import spconv
seconds = time.process_time() - start
print(json.dumps([seconds, sorted(sys.modules)]))
"""


def fresh_interpreter(code, env=None):
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=env
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return run.stdout


def test_import_takes_less_than_the_limit(tmp_path):
    """Every import but the first, which compiles the sources, whatever this process may write."""
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    best = min(json.loads(fresh_interpreter(MEASURE, env))[0] for _ in range(5))
    assert best < LIMIT


def test_import_leaves_other_libraries_alone():
    modules = json.loads(fresh_interpreter(MEASURE))[1]
    assert "spconv.kernels.convolution" in modules
    unwanted = {"cupy", "matplotlib", "tqdm", "torch", "pandas", "numba", "scipy"}
    assert not {module for module in modules if module.split(".")[0] in unwanted}


def test_import_does_no_work():
    """No threads are started, no file is written, nothing is said."""
    code = "import spconv, threading; print(threading.active_count())"
    assert fresh_interpreter(code) == "1\n"


@pytest.mark.parametrize("name", ["testing", "models", "data", "train", "evaluation"])
def test_submodules_need_no_optional_library(name):
    code = f"""
import sys
for library in ("cupy", "matplotlib", "tqdm", "torch", "pytest"):
    sys.modules[library] = None  # importing it raises ImportError
import spconv.{name}
"""
    assert fresh_interpreter(code) == ""


def test_public_names_are_there():
    code = """
import spconv
for name in spconv.__all__:
    getattr(spconv, name)
capitals_first = sorted(spconv.__all__, key=lambda name: (not name.isupper(), name))  # as ruff does
print(len(set(spconv.__all__)) == len(spconv.__all__), spconv.__all__ == capitals_first)
"""
    assert fresh_interpreter(code) == "True True\n"


def test_a_source_folder_without_kernels_says_what_to_do(tmp_path):
    """Python in a clone finds the sources before an installed package."""
    source = Path(__file__).parents[2] / "spconv" / "__init__.py"
    package = tmp_path / "spconv"
    package.mkdir()
    shutil.copy(source, package)
    run = subprocess.run(
        [sys.executable, "-S", "-c", "import spconv"], capture_output=True, text=True, cwd=tmp_path
    )
    assert "ImportError: spconv: there are no compiled kernels" in run.stderr
    assert "`pip install -e .`" in run.stderr
