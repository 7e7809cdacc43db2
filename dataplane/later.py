"""Modules of the standard library that others import at their top, though what they want them for never happens in a sidecar at rest.

In: names. Out: modules that are loaded when the first of their attributes is asked for, so it has to be done before anybody imports them.
(`importlib.util.LazyLoader` does not do: a second `import` loads what it postponed.) Refuses nothing; a module that is there stays as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

UNTOUCHED = (
    "asyncio.sslproto",
    "calendar",
    "inspect",
    "ipaddress",
    "json",
    "locale",
    "ssl",
    "textwrap",
    "tokenize",
    "urllib.parse",
)
"""asyncio asks `inspect` of what it was not given here; there are IPv6, escapes in a path, dumps of the configuration and dates as people write them
where somebody has them; the others are for errors."""


_LOADING = "__postponed_loading__"
_ONE_AT_A_TIME = threading.RLock()
"""Who asks in another thread meanwhile waits until all of the module is there."""


class _Later(ModuleType):
    """A module that is not loaded yet."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # the import system's question whether this is a package
            raise AttributeError(name)
        with _ONE_AT_A_TIME:
            if type(self) is _Later and _LOADING not in self.__dict__:
                self.__dict__[_LOADING] = True
                try:
                    self.__spec__.loader.exec_module(self)  # type: ignore[union-attr]
                    self.__class__ = ModuleType  # type: ignore[assignment] # from here on it is one as any other
                finally:
                    del self.__dict__[_LOADING]
        return ModuleType.__getattribute__(self, name)


def postpone(*names: str) -> None:
    """Have modules loaded at their first use."""
    postponed: dict[str, ModuleType] = {}
    for name in names:
        spec = None if name in sys.modules else _found(name)
        if spec is not None:
            made = importlib.util.module_from_spec(spec)
            made.__class__ = _Later
            sys.modules[name] = postponed[name] = made
    # Once all are there: a package may want the others. Whoever imports one finds it loaded and would not put it into its package.
    for name, made in postponed.items():
        package, _, own = name.rpartition(".")
        if package:
            setattr(importlib.import_module(package), own, made)


def _found(name: str) -> ModuleSpec | None:
    """Find a module, also one of a package that is not loaded, without loading that."""
    package = name.rpartition(".")[0]
    if not package:
        return importlib.util.find_spec(name)
    within = _found(package)
    return within and PathFinder.find_spec(name, within.submodule_search_locations)
