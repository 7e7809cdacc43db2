"""Which image name stands for what on this machine: directories to find programs in.

In: `images.json`, an object of {image glob: {"path": [directories], "env": {name: value}}}. Out: `Image`. The first glob that matches
wins. An image nobody named is refused with a sentence, as a registry would.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SYSTEM_PATH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class ImageError(Exception):
    """There is no such image; the message says what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What an image brings."""

    path: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def search_path(self) -> str:
        """The value of PATH."""
        return ":".join((*self.path, *SYSTEM_PATH))

    @property
    def programs(self) -> list[str]:
        """Places every user of a container must be able to reach: the directories and what stands behind their interpreters."""
        found = [*self.path]
        for directory in self.path:
            python = Path(directory, "python")
            if python.exists():
                found += [str(python.readlink()) if python.is_symlink() else "", str(python.resolve())]
                found.append(str(Path(directory).resolve().parent))
        return [path for path in found if path.startswith("/")]


def find_image(file: Path, name: str) -> Image:
    """Look an image up, in the file as it is now; raises ImageError."""
    try:
        table = json.loads(file.read_text())
    except (OSError, ValueError) as failed:
        raise ImageError(f'failed to pull image "{name}": {file} cannot be read: {failed}') from None
    for pattern, found in table.items():
        if fnmatch.fnmatchcase(name, pattern):
            return Image(path=tuple(found.get("path", ())), env=found.get("env", {}))
    known = ", ".join(table) or "none"
    raise ImageError(f'failed to pull image "{name}": this machine stands in only for images named {known}')
