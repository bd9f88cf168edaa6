"""Properties that are computed once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property:
        """As functools' has been since Python 3.12, without a lock.

        One lock for the property of all instances, as it was, makes threads wait for what others
        compute of objects of their own, and a forked child forever.
        """

        def __init__(self, compute: Callable[[Any], Any]) -> None:
            self.compute = compute
            self.__doc__ = compute.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type) -> Any:
            if instance is None:
                return self
            value = vars(instance)[self.name] = self.compute(instance)
            return value


__all__ = ["cached_property"]
