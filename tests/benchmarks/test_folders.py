"""The floors of the benchmarks' folders, as their README lists them. Only reads the source."""

import ast

import pytest

FLOORS = ("harness", "workloads", "plans", "training", "peers", "reporting", "on_gpu")


def imports(path):
    """First names of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


def test_the_readme_lists_every_folder_in_its_order(benchmarks_folder):
    found = {path.parent.name for path in benchmarks_folder.glob("*/__init__.py")}
    text = (benchmarks_folder / "README.md").read_text(encoding="utf-8")
    listed = [line.split("`")[1].rstrip("/") for line in text.splitlines() if "/` |" in line]
    assert found == set(FLOORS)
    assert tuple(listed) == FLOORS


@pytest.mark.parametrize("folder", FLOORS)
def test_folders_import_from_those_above_them_and_never_from_scripts(benchmarks_folder, folder):
    scripts = {path.stem for path in benchmarks_folder.glob("*.py")}
    forbidden = scripts | set(FLOORS[FLOORS.index(folder) + 1 :])
    for path in (benchmarks_folder / folder).rglob("*.py"):
        assert not forbidden & set(imports(path)), path
