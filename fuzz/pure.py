"""Load the data plane's sources though compiled modules lie beside them.

In: nothing. Out: a finder on `sys.meta_path`, to be installed before the first import of `dataplane`. Refuses to come too
late, since half of each would be no variant at all.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class PureFinder:
    """Finds `dataplane.*` as `.py` files only."""

    @classmethod
    def find_spec(cls, name: str, *_where: object) -> importlib.machinery.ModuleSpec | None:
        """Find one module's source."""
        if name != "dataplane" and not name.startswith("dataplane."):
            return None
        place = ROOT.joinpath(*name.split("."))
        if (place / "__init__.py").exists():
            return importlib.util.spec_from_file_location(
                name, place / "__init__.py", submodule_search_locations=[str(place)]
            )
        source = place.with_suffix(".py")
        return importlib.util.spec_from_file_location(name, source) if source.exists() else None


def install() -> None:
    """Put the finder first."""
    early = [name for name in sys.modules if name.split(".")[0] == "dataplane"]
    if early:
        raise RuntimeError(f"{early[0]} is imported already; install the finder before")
    sys.meta_path.insert(0, PureFinder)
