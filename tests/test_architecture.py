"""The floors of the house: a module imports only from lower ones. Only reads the source."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "spconv"

if not (PACKAGE / "autograd.py").exists():  # an installed package without its repository
    pytest.skip("needs the source tree", allow_module_level=True)

FLOORS = {
    "spconv.cached": 0,
    "spconv.checks": 0,
    "spconv.locks": 0,
    "spconv.kernels": 0,
    "spconv._version": 0,
    "spconv.numpy_functions": 0,
    "spconv.operators": 1,
    "spconv.compat": 1,
    "spconv.geometry": 1,
    "spconv.threads": 1,
    "spconv.dtypes": 2,
    "spconv.memory": 2,
    "spconv.sites": 2,
    "spconv.graph": 3,
    "spconv.rulebook": 3,
    "spconv.ops": 4,
    "spconv.reductions": 4,
    "spconv.rulebook_cache": 4,
    "spconv.adjoints": 5,
    "spconv.initializers": 5,
    "spconv.operations": 5,
    "spconv.regions": 5,
    "spconv.schedules": 5,
    "spconv.autograd": 6,
    "spconv.tensor": 7,
    "spconv.conversion": 8,
    "spconv.functional": 8,
    "spconv.optim": 8,
    "spconv.data": 8,
    "spconv.layers": 9,
    "spconv.metrics": 9,
    "spconv.checkpoint": 9,
    "spconv.evaluation": 10,
    "spconv.inference": 10,
    "spconv.models": 10,
    "spconv.porting": 10,
    "spconv.progress": 10,
    "spconv.testing": 10,
    "spconv.counting": 11,
    "spconv.train": 11,
    "spconv": 12,
}
FILES = sorted(PACKAGE.rglob("*.py"))
KERNELS = sorted((ROOT / "kernels").rglob("*.pyx")) + sorted((ROOT / "kernels").rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path) for path in FILES}


@cache
def tree(path):
    return ast.parse(path.read_text())


@cache
def imports(path):
    """Full names of all modules that a file imports, inside functions too."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import of {node.module}"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.append(full if full in MODULES else node.module)
    return found


def unit(module):
    """What stands on one floor: a top-level module or a subpackage."""
    return ".".join(module.split(".")[:2])


def foreign(path):
    return {module.split(".")[0] for module in imports(path)}


def test_every_module_has_a_floor():
    assert {unit(module) for module in MODULES} | {"spconv.kernels"} == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_come_from_lower_floors(path):
    own = unit(name_of(path))
    for module in imports(path):
        if module.split(".")[0] != "spconv" or unit(module) == own:
            continue
        floor = FLOORS[unit(module)]
        assert floor < FLOORS[own], (
            f"{name_of(path)} (floor {FLOORS[own]}) imports {module} (floor {floor})"
        )


def test_the_imports_are_really_read():
    assert "spconv.kernels" in {unit(m) for m in imports(PACKAGE / "ops" / "cpu.py")}
    assert "scipy" in foreign(PACKAGE / "tensor.py")  # inside a function
    assert "spconv.functional" in imports(PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_libraries(path):
    allowed = {"numpy", "scipy", "spconv", "tqdm"} | set(sys.stdlib_module_names)
    if path == PACKAGE / "compat.py":
        allowed |= {"cupy", "cupyx"}
    assert foreign(path) <= allowed


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
def test_kernels_import_nothing_of_the_package(path):
    for line in path.read_text().splitlines():
        words = line.split()
        if words and words[0] in ("import", "from", "cimport", "include"):
            assert "spconv" not in words[1], line


SOURCES = [
    path
    for folder in ("spconv", "kernels", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".pyx", ".pxd", ".pxi", ".h", ".cu", ".cuh"}
]


def test_files_are_short():
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCES}
    too_long = {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > 400}
    assert not too_long
    lengths = sorted(lengths.values())
    assert lengths[len(lengths) // 2] <= 160, "the median should be about 120 lines"


def test_setup_is_short():
    assert len((ROOT / "setup.py").read_text().splitlines()) <= 120


def test_assembly_is_in_one_file():
    for path in SOURCES:
        if path.suffix in {".cu", ".cuh"} and path.name != "ptx.cuh":
            assert not re.search(r"\basm\b", path.read_text()), path.name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_user_input_is_not_checked_by_assert(path):
    """Statements of ``python -O`` go away; spconv.testing raises AssertionError on purpose."""
    found = [n.lineno for n in ast.walk(tree(path)) if isinstance(n, ast.Assert)]
    assert not found


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(tree(path)) or path.name == "_version.py"


def test_subpackages_need_no_import_of_their_own():
    code = """
import sys, spconv
assert not {"spconv.models", "spconv.data", "spconv.train"} & set(sys.modules)
assert {"data", "models", "testing", "train"} <= set(dir(spconv))
spconv.models.DeepCNet, spconv.data.SparseLoader, spconv.train.train, spconv.testing.tolerance
try:
    spconv.nothing
except AttributeError as error:
    assert str(error) == "module 'spconv' has no attribute 'nothing'"
else:
    raise SystemExit("spconv.nothing is something")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
