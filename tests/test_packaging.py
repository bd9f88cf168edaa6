"""What a source distribution holds."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GENERATED = {".c", ".so", ".pyc", ".pyd", ".json"}

if not (ROOT / "MANIFEST.in").exists():  # an installed package without its repository
    pytest.skip("needs the source tree", allow_module_level=True)


@pytest.mark.parametrize("folder", ["kernels", "tests", "benchmarks"])
def test_nothing_is_left_out(folder):
    rules = [line.split() for line in (ROOT / "MANIFEST.in").read_text().splitlines()]
    (patterns,) = [rule[2:] for rule in rules if rule[:2] == ["recursive-include", folder]]
    files = [path for path in (ROOT / folder).rglob("*.*") if path.suffix not in GENERATED]
    left_out = [path for path in files if not any(map(path.match, patterns))]
    assert files
    assert not left_out
