"""The files that travel beside the code: the chart, the Gateway API definitions and the samples.

In: a path as the repository has it. Out: where it is here: in the repository itself, or under `share/tulle` of wherever the wheel was
installed (the environment, a user's site, or a `pip --target` directory). Refuses, in a sentence, where neither has it.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

from tulle.output import Failure

_PACKAGES = Path(__file__).resolve().parents[1]
"""The directory the packages are in: the repository, or a site-packages."""


def shared(path: str) -> Path:
    """Find a shared file or directory, e.g. `charts/tulle`; raises Failure."""
    return _find(path, [_PACKAGES, *_installed()])


def _find(path: str, places: list[Path]) -> Path:
    for place in places:
        if (place / path).exists():
            return place / path
    raise Failure(f"{path} did not come along with this installation; looked in {', '.join(map(str, places))}")


def _installed() -> list[Path]:
    data = [sysconfig.get_path("data"), sysconfig.get_path("data", sysconfig.get_preferred_scheme("user"))]
    return [place / "share" / "tulle" for place in (*map(Path, data), _PACKAGES)]
