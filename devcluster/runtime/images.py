"""Which image name stands for what on this machine: an image's archive, or directories to find programs in.

In: `images.json`, an object of {image glob: what it stands for}, read anew at each question. Out: `Image`. The first glob that matches
wins. What it stands for is either

    {"archive": file, "env": {name: value}}            an image as `buildah push` or `podman save` writes it: containers see its
                                                       file system and nothing of the machine's
    {"path": [directories], "env": {name: value}}      this machine: containers see its file system, and these programs first

An archive is unpacked once, by whoever first asks for it. An image nobody named, or an archive that is none, is refused with a
sentence, as a registry would.
"""

from __future__ import annotations

import asyncio
import fnmatch
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from devcluster.runtime.archive import ArchiveError, Recipe, unpack, within

SYSTEM_PATH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

_ACCOUNTS: Final = 4 << 20
"""Characters of a passwd or group file that are looked at."""

_NO_ID: Final = (1 << 32) - 1
"""What the kernel takes for "leave as it is"."""


class ImageError(Exception):
    """There is no such image; the message says what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What an image brings."""

    path: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    root: str = ""
    """The directory its file system is in; empty where it is the machine's own."""
    recipe: Recipe = field(default_factory=Recipe)

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

    def owner(self) -> tuple[int, int]:
        """As whom its programs run where the pod does not say, user and group; raises ImageError for a name it does not know."""
        if not self.root:
            return 0, 0
        user, _, group = self.recipe.user.partition(":")
        user = user or "0"
        row = self._row("etc/passwd", user, numbers=slice(2, 4))
        if row is None and not _is_number(user):
            raise ImageError(f"unable to find user {user[:80]}: no matching entries in passwd file")
        uid = int(row[2]) if row else int(user)
        if not group:
            return uid, int(row[3]) if row else 0
        named = self._row("etc/group", group, numbers=slice(2, 3))
        if named is None and not _is_number(group):
            raise ImageError(f"unable to find group {group[:80]}: no matching entries in group file")
        return uid, int(named[2]) if named else int(group)

    def _row(self, file: str, who: str, *, numbers: slice) -> list[str] | None:
        """Find somebody in the image's passwd or group, by name or number; a row without its numbers is none."""
        try:
            with within(Path(self.root), file).open(encoding="utf-8") as opened:
                rows = [line.split(":") for line in opened.read(_ACCOUNTS).splitlines()]
        except (OSError, ValueError, ArchiveError):
            return None
        fitting = (row for row in rows if len(row) > 3 and who in {row[0], row[2]})
        return next((row for row in fitting if all(map(_is_number, row[numbers]))), None)


def _is_number(word: str) -> bool:
    """Say whether a word is the number of a user or group."""
    return word.isdecimal() and len(word) <= 10 and int(word) < _NO_ID


class Images:
    """What this machine has for images."""

    def __init__(self, file: Path, store: Path) -> None:
        self._file = file
        self._store = store
        """Where archives are unpacked; made when the first one is."""
        self._unpacked: dict[tuple[str, int, int], tuple[str, Recipe]] = {}
        self._unpacking = asyncio.Lock()

    async def find(self, name: str) -> Image:
        """Look an image up, in the file as it is now; raises ImageError."""
        found = self._named(name)
        env, path = found.get("env", {}), tuple(found.get("path", ()))
        if "archive" not in found:
            return Image(path=path, env=env)
        try:
            root, recipe = await self._root(Path(found["archive"]))
        except (ArchiveError, OSError) as refused:
            raise ImageError(f'failed to pull image "{name}": {refused}') from None
        return Image(env=recipe.env | env, root=root, recipe=recipe)

    def _named(self, name: str) -> dict[str, Any]:
        try:
            table = json.loads(self._file.read_text())
        except (OSError, ValueError) as failed:
            raise ImageError(f'failed to pull image "{name}": {self._file} cannot be read: {failed}') from None
        for pattern, found in table.items():
            if fnmatch.fnmatchcase(name, pattern):
                return dict(found)
        known = ", ".join(table) or "none"
        raise ImageError(f'failed to pull image "{name}": this machine stands in only for images named {known}')

    async def _root(self, archive: Path) -> tuple[str, Recipe]:
        """Unpack an archive, or give what was unpacked: another file of that name is another image."""
        async with self._unpacking:
            seen = await asyncio.to_thread(archive.stat)
            key = (str(archive), seen.st_mtime_ns, seen.st_size)
            if key not in self._unpacked:
                self._unpacked[key] = await asyncio.to_thread(self._unpack, archive)
            return self._unpacked[key]

    def _unpack(self, archive: Path) -> tuple[str, Recipe]:
        self._store.mkdir(parents=True, exist_ok=True)
        root = Path(tempfile.mkdtemp(dir=self._store))
        try:
            return str(root), unpack(archive, root)
        except BaseException:
            shutil.rmtree(root)
            raise
