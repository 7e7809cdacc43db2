"""The file system a container sees, under a memory overlay, so nothing it writes reaches what others see: an unpacked image's, or the machine's own.

Runs in the process that becomes the container, inside its new mount namespace. In: the specification made by `container`. Out: a new
root with its own /proc, /dev, /run, /tmp, the pod's volumes at their places, and the machine's tree taken away. It raises OSError
with the mount that failed. Other file systems of the machine (a /home of its own) are shown read-only.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Final

from devcluster.runtime import linux

_NODE: Final = "/.node"
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_OWN: Final = ("proc", "sys", "dev", "run", "tmp")
"""Top directories a container has for itself."""
_MEANT: Final = str.maketrans({"\\": "\\\\", ":": "\\:", ",": "\\,"})
"""What is more than a letter to the kernel in the name of a layer."""


def build(spec: Mapping[str, Any]) -> None:
    """Replace this process's file system by the container's."""
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    stage = Path(spec["stage"])
    linux.mount("tmpfs", str(stage), "tmpfs", 0, "mode=0755")
    root = stage / "root"
    root.mkdir(0o755)
    others = []
    if spec["image"]:
        _overlay(spec["image"], stage, root)
    else:
        _machine(stage, root)
        others = _other_mounts(str(stage.parent))
    former = root / _NODE[1:]
    former.mkdir(0o700)
    linux.pivot_root(str(root), str(former))
    os.chdir("/")
    _show(others)
    _kernel(privileged=spec["privileged"])
    _devices()
    if not spec["image"]:
        for name, mode in (("/run", 0o755), ("/tmp", 0o1777)):
            linux.mount("tmpfs", name, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, f"mode={mode:o}")
    for item in sorted(spec["mounts"], key=lambda item: str(item["target"])):
        _volume(item)
    for program in spec["programs"]:
        _reach(program, Path(_NODE + spec["stage"]))
    linux.detach(_NODE)
    Path(_NODE).rmdir()
    _inside(spec["cwd"]).mkdir(parents=True, exist_ok=True)
    if spec["read_only"]:
        _read_only({item["target"] for item in spec["mounts"]})


def _machine(stage: Path, root: Path) -> None:
    """Show the machine's own file system."""
    try:
        _overlay("/", stage, root)
    except OSError:
        _overlay_in_pieces(stage, root)


def _overlay(lower: str, stage: Path, target: Path) -> None:
    """Show a directory with a layer of memory on top of it."""
    own = stage / ("layer" + lower.replace("/", "-"))
    layers = f"lowerdir={lower.translate(_MEANT)},upperdir={own}/upper,workdir={own}/work"
    for name in ("upper", "work"):
        (own / name).mkdir(0o755, parents=True)
    try:
        linux.mount("overlay", str(target), "overlay", 0, layers)
    except OSError:  # in a user namespace the marks of the layer can only be user attributes
        linux.mount("overlay", str(target), "overlay", 0, f"{layers},userxattr")


def _overlay_in_pieces(stage: Path, root: Path) -> None:
    """Show each top directory by itself: in a user namespace what has mounts of others inside may not be a layer as a whole."""
    linux.bind(str(root), str(root))
    for entry in Path("/").iterdir():
        target = root / entry.name
        if entry.is_symlink():
            target.symlink_to(entry.readlink())
        elif entry.is_dir():
            target.mkdir(0o755)
            if entry.name not in _OWN:
                try:
                    _overlay(str(entry), stage, target)
                except OSError:
                    _show([str(entry)], below=str(root))


def _read_only(volumes: AbstractSet[str]) -> None:
    """Make the machine's tree and the scratch directories read-only, and leave volumes as they are."""
    linux.make_read_only("/")
    for entry in Path("/").iterdir():
        if entry.is_symlink() or entry.name in {"proc", "sys", "dev"} or str(entry) in volumes:
            continue
        if entry.is_dir() and entry.is_mount():  # a file of a layer has another device than its directory
            linux.make_read_only(str(entry))


def _other_mounts(own: str) -> list[str]:
    """List the machine's further file systems, parents first."""
    hidden = (*(f"/{name}" for name in _OWN), own)
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        path = line.split()[4].encode().decode("unicode_escape")
        if path != "/" and not any(path == h or path.startswith(h + "/") for h in hidden):
            found.append(path)
    return sorted(found)


def _show(paths: Iterable[str], *, below: str = "") -> None:
    for path in paths:
        source, target = (path, below + path) if below else (_NODE + path, path)
        with contextlib.suppress(
            OSError
        ):  # one this user may not see, or hidden by another: the container does without
            linux.bind(source, target, read_only=True, recursive=bool(below))


def _kernel(*, privileged: bool) -> None:
    for place in ("/proc", "/sys", "/dev"):
        _inside(place).mkdir(exist_ok=True)
    try:
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    except OSError:  # a user namespace inside a container whose own /proc is masked may not have a new one
        linux.bind(_NODE + "/proc", "/proc")
    try:
        linux.bind(_NODE + "/sys", "/sys", read_only=not privileged, recursive=False)
    except OSError:  # in a user namespace only with what is mounted inside
        linux.bind(_NODE + "/sys", "/sys", read_only=not privileged)
    if not privileged:
        linux.bind("/proc/sys", "/proc/sys", read_only=True)


def _devices() -> None:
    linux.mount("tmpfs", "/dev", "tmpfs", linux.MS_NOSUID, "mode=0755")
    for name in _DEVICES:
        Path("/dev", name).touch()
        linux.bind(f"{_NODE}/dev/{name}", f"/dev/{name}")
    for path, kind, data in (
        ("/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620"),
        ("/dev/shm", "tmpfs", "mode=1777"),
    ):
        Path(path).mkdir()
        linux.mount(kind, path, kind, linux.MS_NOSUID | linux.MS_NOEXEC, data)
    Path("/dev/ptmx").symlink_to("pts/ptmx")
    Path("/dev/fd").symlink_to("/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        Path("/dev", name).symlink_to(f"/proc/self/fd/{number}")


def _reach(program: str, stage: Path) -> None:
    """Make an image's directory reachable for every user: in a /tmp of the container's own, through closed parents (overlaid)."""
    path = Path(program)
    if path.parts[1] in {"run", "tmp"} and len(path.parts) > 2:
        top = Path(*path.parts[:3])
        if not path.exists():
            top.mkdir(exist_ok=True)
            try:
                _overlay(f"{_NODE}{top}", stage, top)
            except OSError:  # what has mounts of others inside is no layer in a user namespace: as it is, then
                linux.bind(f"{_NODE}{top}", str(top), read_only=True)
    for parent in reversed([path, *path.parents]):
        try:
            mode = parent.stat().st_mode & 0o7777
            if not mode & 0o001:
                parent.chmod(mode | 0o011)
        except OSError:
            return


def _volume(item: Mapping[str, Any]) -> None:
    source, named = _NODE + item["source"], Path(item["target"])
    directory = Path(source).is_dir()
    target = _inside(named) if directory else _inside(named.parent) / named.name
    try:
        _make_place(target, directory=directory)
    except OSError as refused:
        if refused.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise
        _copy_tree_of_links(next(parent for parent in target.parents if parent.exists()))
        _make_place(target, directory=directory)
    linux.bind(source, str(target), read_only=item["read_only"])


def _inside(place: str | Path) -> Path:
    """Say where a name leads without any link; raises OSError where an image's links lead to the machine's tree."""
    found = Path(os.path.realpath(place))
    if found.is_relative_to(_NODE):
        raise OSError(errno.EXDEV, f"{place} leads to {found}, out of the image")
    return found


def _make_place(target: Path, *, directory: bool) -> None:
    """Make a mount point where there is none."""
    if directory:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    if not target.exists():
        target.touch()


def _copy_tree_of_links(directory: Path) -> None:
    """Make room in a directory of somebody this user namespace does not know: memory in its place, each entry shown in there."""
    entries = list(directory.iterdir())
    links = {entry.name: entry.readlink() for entry in entries if entry.is_symlink()}
    kinds = {entry.name: entry.is_dir() for entry in entries if entry.name not in links}
    covered = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    linux.mount("tmpfs", str(directory), "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
    for name, goal in links.items():
        (directory / name).symlink_to(goal)
    for name, is_directory in kinds.items():
        _make_place(directory / name, directory=is_directory)
        with contextlib.suppress(OSError):  # what this user may not see stays empty
            linux.bind(f"/proc/self/fd/{covered}/{name}", str(directory / name))
    os.close(covered)
