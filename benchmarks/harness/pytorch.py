"""PyTorch, if it is installed, and imported only when a baseline is asked for.

The workers of ``peers``, which run in an interpreter that has it, import it themselves.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any


def import_torch() -> Any | None:
    """Return the ``torch`` module, or None where it is not installed or cannot be loaded."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        return importlib.import_module("torch")
    except (ImportError, OSError):
        return None


def torch_version() -> str | None:
    """PyTorch's version, or None."""
    torch = import_torch()
    return None if torch is None else str(torch.__version__)


def set_torch_threads(num_threads: int) -> None:
    """Give PyTorch as many threads as everything else has."""
    torch = import_torch()
    if torch is not None:
        torch.set_num_threads(num_threads)
