"""Reads an image's archive and lays its file system out: layer upon layer, as a container runtime does.

In: an archive as `buildah push`, `podman save` or `docker save` writes it (an OCI layout, or docker's own with a `manifest.json`), and an
empty directory. Out: the files, owned as the image says where this user may say so, and what the image says of how it is run.
Refuses with ArchiveError, in one sentence, what is no such archive, is not whole, has more than the bounds, or would write outside the
directory. Extended attributes, device nodes and sockets are left out: a container has a `/dev` of its own.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import platform
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

Object = dict[str, Any]
_DOCUMENT_BYTES: Final = 4 << 20
_LAYERS: Final = 500
_ENTRIES: Final = 1_000_000
_BYTES: Final = 8 << 30
_INDEXES: Final = 4
_CHUNK: Final = 1 << 20
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_LINKS: Final = 40
"""As many as the kernel follows."""
_DEPTH: Final = 255
"""Directories in each other; what takes a tree away goes down into it step by step."""
_DESCRIPTIONS: Final = {
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
}  # fmt: skip
_HEADER_BYTES: Final = 1 << 20
"""Of an entry's long name or further properties, which are read as a whole."""
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class ArchiveError(Exception):
    """An archive is no image that can be run; the message says which and why."""


_BROKEN: Final = (
    OSError, EOFError, tarfile.TarError, zlib.error, ValueError, KeyError, TypeError, AttributeError,
    OverflowError, RecursionError, MemoryError,
)  # fmt: skip
"""What reading hostile bytes ends with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an image says it is run."""

    env: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    directory: str = ""


def unpack(archive: Path, into: Path) -> Recipe:
    """Lay an image out in an empty directory; raises ArchiveError."""
    try:
        with tarfile.open(archive, tarinfo=_Entry) as outer:
            image = _Image(outer)
            tree = _Tree(into)
            for layer in image.layers:
                with image.layer(layer) as opened:
                    tree.add(opened)
            tree.finish()
    except ArchiveError as refused:
        raise ArchiveError(f"image archive {archive}: {refused}") from None
    except _BROKEN as broken:
        said = str(broken) or type(broken).__name__
        raise ArchiveError(f"image archive {archive} cannot be read as an OCI or docker archive: {said}") from None
    return image.recipe


class _Entry(tarfile.TarInfo):
    """An entry whose own description is of a bounded size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _DESCRIPTIONS and not 0 <= found.size <= _HEADER_BYTES:
            raise ArchiveError(f"an entry's description has {found.size} bytes; {_HEADER_BYTES} is the bound")
        return found


class _Image:
    """What an archive holds: its layers by name, oldest first, and its recipe."""

    def __init__(self, outer: tarfile.TarFile) -> None:
        self._outer = outer
        self._contents: dict[str, str] = {}
        """What layers shall have for digests when they are decompressed, where their names do not say what they have before."""
        self._names = {os.path.normpath(entry.name): entry.name for entry in map(_forward, outer)}
        if "oci-layout" in self._names:
            manifest = self._chosen(self._document("index.json"), _INDEXES)
            self.layers = [_blob(layer["digest"]) for layer in manifest["layers"]]
            config = self._document(_blob(manifest["config"]["digest"]))
        elif "manifest.json" in self._names:
            listed = self._document("manifest.json")
            if len(listed) != 1:
                raise ArchiveError(f"it holds {len(listed)} images; one is wanted")
            self.layers = [os.path.normpath(name) for name in listed[0]["Layers"]]
            config = self._document(os.path.normpath(listed[0]["Config"]))
            sums = (config.get("rootfs") or {}).get("diff_ids") or []
            if len(sums) != len(self.layers):
                raise ArchiveError(f"it has {len(self.layers)} layers and digests (rootfs.diff_ids) of {len(sums)}")
            self._contents = {name: _blob(digest) for name, digest in zip(self.layers, sums, strict=True)}
        else:
            raise ArchiveError("it has neither an oci-layout nor a manifest.json, so it is no image's archive")
        if len(self.layers) > _LAYERS:
            raise ArchiveError(f"it has {len(self.layers)} layers; {_LAYERS} is the bound")
        self.recipe = _recipe(config.get("config") or {})

    @contextlib.contextmanager
    def layer(self, name: str) -> Iterator[tarfile.TarFile]:
        """Open a layer, plain or compressed, and hold it to its digest when all of it was read."""
        with self._open(name) as file:
            content = self._contents.get(name)
            checked = _Checked(_plain(file) if content else file)
            try:
                with tarfile.open(fileobj=checked, mode="r|*", tarinfo=_Entry) as opened:  # type: ignore[call-overload]
                    yield opened
            except tarfile.ReadError as broken:
                raise ArchiveError(f"layer {name} is no tar, plain or gzip: {broken}") from None
            checked.hold_to(name, content or name)

    def _chosen(self, index: Object, further: int) -> Object:
        """Find the manifest for this machine, through indexes of indexes."""
        entries = index["manifests"]
        machine = _MACHINES.get(platform.machine(), platform.machine())
        fitting = [e for e in entries if (e.get("platform") or {}).get("architecture", machine) == machine]
        if len(fitting) != 1:
            raise ArchiveError(f"it holds {len(fitting)} images for {machine}; one is wanted")
        found: Object = self._document(_blob(fitting[0]["digest"]))
        if "manifests" not in found:
            return found
        if not further:
            raise ArchiveError(f"its indexes are nested more than {_INDEXES} deep")
        return self._chosen(found, further - 1)

    def _document(self, name: str) -> Any:
        with self._open(name) as file:
            data = file.read(_DOCUMENT_BYTES + 1)
        if len(data) > _DOCUMENT_BYTES:
            raise ArchiveError(f"{name} has more than {_DOCUMENT_BYTES >> 20} MiB")
        _hold_to(name, name, hashlib.sha256(data))
        return json.loads(data)

    def _open(self, name: str) -> IO[bytes]:
        found = self._outer.extractfile(self._names[name]) if name in self._names else None
        if found is None:
            raise ArchiveError(f"{name} is missing")
        return found


class _Checked:
    """A blob as a stream that knows the digest of what was read."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self._sum = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._sum.update(data)
        return data

    def hold_to(self, name: str, blob: str) -> None:
        while self.read(_CHUNK):
            pass
        _hold_to(name, blob, self._sum)


def _blob(digest: str) -> str:
    kind, _, value = digest.partition(":")
    if kind != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ArchiveError(f"digest {digest[:80]!r} is no sha256")
    return f"blobs/sha256/{value}"


def _forward(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Refuse an entry that has the next one before it, which would be read for ever."""
    if entry.size < 0:
        raise ArchiveError(f"entry {entry.name[:80]!r} has {entry.size} bytes")
    return entry


def _plain(file: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    """Decompress what is compressed."""
    begin = file.read(2)
    file.seek(0)
    return gzip.open(file) if begin == b"\x1f\x8b" else file


def _hold_to(name: str, blob: str, found: Any) -> None:
    """Refuse what shall be the blob of a digest and has another."""
    if blob.startswith("blobs/sha256/") and found.hexdigest() != blob.rpartition("/")[2]:
        raise ArchiveError(f"{name} has the digest {found.hexdigest()}: the archive is damaged")


def _recipe(config: Object) -> Recipe:
    return Recipe(
        env=dict(entry.split("=", 1) for entry in _words(config, "Env") if "=" in entry),
        entrypoint=_words(config, "Entrypoint"),
        command=_words(config, "Cmd"),
        user=_word("User", config.get("User") or ""),
        directory=_word("WorkingDir", config.get("WorkingDir") or ""),
    )


def _words(config: Object, key: str) -> tuple[str, ...]:
    found = config.get(key) or []
    if not isinstance(found, list):
        raise ArchiveError(f"its config has {str(found)[:80]!r} for {key}, which is no list")
    return tuple(_word(key, word) for word in found)


def _word(key: str, found: object) -> str:
    if not isinstance(found, str) or b"\0" in found.encode():
        raise ArchiveError(f"its config has {str(found)[:80]!r} in {key}, which is no text without NUL")
    return found


def within(root: Path, name: str, made: set[Path] | None = None) -> Path:
    """Find a name inside an image, links followed as in there; with a set makes the directories that are missing and adds them.

    Raises ArchiveError for links that go in circles, directories too deep in each other, and where one can be made nowhere.
    """
    here, left, links = root, _steps(name), 0
    while left:
        part = left.pop(0)
        if part == "..":
            here = here if here == root else here.parent
            continue
        following = here / part
        if following.is_symlink():
            links += 1
            if links > _LINKS:
                raise ArchiveError(f"its links go in circles at {name}")
            goal = str(following.readlink())
            here = root if goal.startswith("/") else here
            left = _steps(goal) + left
            continue
        if len(following.parts) - len(root.parts) > _DEPTH:
            raise ArchiveError(f"{name[:80]}... is more than {_DEPTH} directories deep")
        if made is not None and not following.is_dir():
            if following.exists():
                raise ArchiveError(f"{name} is below something that is no directory")
            following.mkdir(0o755)
            made.add(following)
        here = following
    return here


def _steps(name: str) -> list[str]:
    """Take a path apart."""
    return [part for part in name.split("/") if part not in {"", "."}]


class _Tree:
    """A file system that grows layer by layer and never leaves its directory, whatever links the layers bring."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._entries = 0
        self._bytes = 0
        self._modes: dict[Path, tarfile.TarInfo] = {}
        """Directories: how they shall be in the end, for until then they are written to."""

    def add(self, layer: tarfile.TarFile) -> None:
        """Put a layer on top."""
        own: set[Path] = set()
        for entry in layer:
            self._count(_forward(entry))
            parts = _steps(entry.name)
            if ".." in parts:
                raise ArchiveError(f"entry {entry.name!r} leads out of the image")
            if not parts:
                self._modes[self._root] = entry
                continue
            place = within(self._root, "/".join(parts[:-1]), own) / parts[-1]
            if parts[-1] == _OPAQUE:
                self._empty(place.parent, own)
            elif parts[-1].startswith(_WHITEOUT):
                self._remove(place.with_name(_whited_out(entry.name, parts[-1])))
            else:
                self._write(layer, entry, place)
                own.add(place)

    def finish(self) -> None:
        """Give directories their modes and times, the inner ones first."""
        for place, entry in sorted(self._modes.items(), reverse=True):
            if place.is_dir() and place.resolve() == place:
                _own(place, entry)

    def _count(self, entry: tarfile.TarInfo) -> None:
        self._entries += 1
        self._bytes += entry.size
        if self._entries > _ENTRIES or self._bytes > _BYTES:
            raise ArchiveError(f"it unpacks to more than {_ENTRIES} entries or {_BYTES >> 30} GiB")

    def _empty(self, directory: Path, own: set[Path]) -> None:
        """Take away what lower layers have put here; what this layer brings stays, in whichever order it comes."""
        for entry in list(directory.iterdir()):
            if entry not in own:
                self._remove(entry)
            elif entry.is_dir() and not entry.is_symlink():
                self._empty(entry, own)

    def _remove(self, place: Path) -> None:
        """Take a place away, and what was to be done to directories there: a link may stand in their place next."""
        if place.is_dir() and not place.is_symlink():
            for directory, _, _ in os.walk(place):
                self._modes.pop(Path(directory), None)
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)

    def _write(self, layer: tarfile.TarFile, entry: tarfile.TarInfo, place: Path) -> None:
        if entry.isdir():
            if place.is_symlink() or not place.is_dir():
                self._remove(place)
                place.mkdir(0o755)
            self._modes[place] = entry
            return
        self._remove(place)
        if entry.issym():
            place.symlink_to(entry.linkname)
            _own(place, entry)
        elif entry.islnk():
            parts = _steps(entry.linkname)
            if not parts or ".." in parts:
                raise ArchiveError(f"entry {entry.name!r} is a link to {entry.linkname!r}, out of the image")
            os.link(within(self._root, "/".join(parts[:-1]), set()) / parts[-1], place, follow_symlinks=False)
        elif entry.isreg():
            source = layer.extractfile(entry)
            assert source is not None
            with place.open("xb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
            _own(place, entry)


def _whited_out(entry: str, name: str) -> str:
    """Say what a whiteout takes away from its directory; raises ArchiveError where that is no name in there."""
    found = name.removeprefix(_WHITEOUT)
    if found in {"", ".", ".."}:
        raise ArchiveError(f"entry {entry!r} takes away {found!r}, which is no file's name")
    return found


def _own(place: Path, entry: tarfile.TarInfo) -> None:
    """Give a file its owner, mode and time; an owner this user cannot give stays this user."""
    with contextlib.suppress(OSError):
        os.chown(place, entry.uid, entry.gid, follow_symlinks=False)
    if not place.is_symlink():
        place.chmod(entry.mode & 0o7777)
    os.utime(place, (entry.mtime, entry.mtime), follow_symlinks=False)
