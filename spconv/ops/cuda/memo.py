"""What was made of a rulebook or of sites for a GPU, kept while they live."""

from __future__ import annotations

import weakref
from types import ModuleType
from typing import Any

import numpy as np


class DeviceMemo:
    """Arrays kept by (object, device): an array of one device is none of another's.

    References to the objects are weak. The arrays are made on the stream that first asks for
    them; nothing orders other streams behind it.

    Parameters
    ----------
    xp : module
        ``numpy`` or ``cupy``.
    """

    def __init__(self, xp: ModuleType) -> None:
        self.xp = xp
        self._kept: weakref.WeakKeyDictionary[Any, dict[int, dict[Any, Any]]] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def device(self) -> int:
        """Number of the current device."""
        return 0 if self.xp is np else self.xp.cuda.runtime.getDevice()

    def of(self, owner: Any) -> dict[Any, Any]:
        """What is kept with ``owner`` on the current device; to be filled by the caller."""
        devices = self._kept.get(owner)
        if devices is None:
            devices = self._kept.setdefault(owner, {})
        return devices.setdefault(self.device, {})

    def has(self, owner: Any, name: Any) -> bool:
        """Whether something of that name is kept with ``owner`` on the current device."""
        return name in self._kept.get(owner, {}).get(self.device, {})
