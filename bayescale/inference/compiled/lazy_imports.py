"""Imports that wait until something of the module is used.

With it, loading a cached model imports neither matplotlib nor ArviZ.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _LazyModule(ModuleType):
    """A module that is imported when an attribute of it is first used."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def lazy_imports(*names: str) -> Iterator[None]:
    """Delay the import of modules that are imported within the block."""
    waiting = [name for name in names if name not in sys.modules]
    packages = {name.rpartition(".")[0] for name in waiting} - sys.modules.keys()
    sys.modules.update({name: _LazyModule(name) for name in waiting})
    try:
        yield
    finally:
        for name in waiting:
            if isinstance(sys.modules.get(name), _LazyModule):
                del sys.modules[name]
        for name in waiting:  # a package imported meanwhile expects its modules to be imported
            if name.rpartition(".")[0] in packages & sys.modules.keys():
                importlib.import_module(name)
