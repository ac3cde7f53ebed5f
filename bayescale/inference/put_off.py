"""Imports that are put off until somebody asks for what they bring."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """A module that is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def put_off(*names: str) -> Iterator[None]:
    """Modules that imports within the block do not wait for; nobody else sees a difference."""
    waiting = [name for name in names if name not in sys.modules]
    sys.modules.update({name: _Later(name) for name in waiting})
    try:
        yield
    finally:
        for name in waiting:
            if isinstance(sys.modules.get(name), _Later):
                del sys.modules[name]
