"""Imports that are put off until somebody asks for what they bring."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _LazyModule(ModuleType):
    """A module that is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def lazy_imports(*names: str) -> Iterator[None]:
    """Modules that imports within the block do not wait for; nobody else sees a difference."""
    waiting = [name for name in names if name not in sys.modules]
    packages = {name.rpartition(".")[0] for name in waiting} - sys.modules.keys()
    sys.modules.update({name: _LazyModule(name) for name in waiting})
    try:
        yield
    finally:
        for name in waiting:
            if isinstance(sys.modules.get(name), _LazyModule):
                del sys.modules[name]
        for name in waiting:  # a package that came meanwhile takes its modules for imported
            if name.rpartition(".")[0] in packages & sys.modules.keys():
                importlib.import_module(name)
