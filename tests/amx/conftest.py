"""The emulation is a module in this folder, not of the library: put the folder on the path."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))


@pytest.fixture(autouse=True)
def compiler():
    from amx_library import why_not

    if why_not():
        pytest.skip(why_not())
