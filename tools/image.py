"""`make image`: builds the one image from the Containerfile and writes it as an archive, build/image/tulle.tar.

It needs `buildah`, and `mmdebstrap` where no registry can be reached; `make setup` installs both. No daemon, nothing beyond this
directory: storage is `vfs`, isolation is chroot. The base is pulled if a registry answers within a short while, else made from Debian's
packages, by the mirror this machine's own apt uses. What pip is told on this machine (indexes, roots it trusts) holds in the build too.

An archive that was built from the same sources is not built again. Two who ask at once build once.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build" / "image"
ARCHIVE = PLACE / "tulle.tar"
SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SLIM = ("man/*", "info/*", "locale/*", "doc/*", "lintian/*")
SOURCES = ("meshapi", "controlplane", "dataplane")
FILES = (
    "tools/image.py",
    "Containerfile",
    ".dockerignore",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "setup.py",
    "requirements.lock",
)
PULL_SECONDS = 20
BASE_SECONDS = 24 * 3600
"""A base made here is used for a day: then Debian may have mended something in it."""


class ImageError(Exception):
    """The image cannot be built; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What is known of an archive."""

    sources: str
    """Digest of all that it was built from in this tree."""
    base: str
    """The base it was told to start from; empty for the usual one."""
    digest: str
    """The manifest's, by which a registry knows it."""
    content_bytes: int
    """All files of the file system, as they stand in there."""
    archive_bytes: int


def sources(root: Path = ROOT) -> str:
    """Digest what an image is built of, in a tree."""
    found = hashlib.sha256()
    for name in _names(root):
        data = (root / name).read_bytes()
        found.update(f"{name} {len(data)}\n".encode() + data)
    return found.hexdigest()


def _names(root: Path) -> list[str]:
    every = [path for package in SOURCES for path in (root / package).rglob("*") if path.is_file()]
    counted = [path for path in every if path.suffix not in {".so", ".c", ".pyc"} and "__pycache__" not in path.parts]
    return [*FILES, *sorted(str(path.relative_to(root)) for path in counted)]


def present() -> Path | None:
    """Give the archive that was built from this very tree, on the usual base, if there is one."""
    return ARCHIVE if _of_this_tree("") else None


def _of_this_tree(base: str) -> Built | None:
    """Tell of the archive, if it is what a build now would make."""
    try:
        told = Built(**json.loads(ARCHIVE.with_suffix(".json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return told if ARCHIVE.exists() and (told.base, told.sources) == (base, sources()) else None


def ensure(*, base: str = "", anew: bool = False) -> Built:
    """Build unless that was done; raises ImageError."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not anew and (told := _of_this_tree(base)):
            return told
        return _Build().run(base)


class _Build:
    """One build, in a storage of its own that goes when it ends."""

    def __init__(self) -> None:
        self._log = PLACE / "build.log"
        self._begun = time.monotonic()
        self._store = [PLACE / "store", PLACE / "run", PLACE / "tmp"]
        places = ["--root", str(self._store[0]), "--runroot", str(self._store[1]), "--storage-driver", "vfs"]
        self._buildah = ["buildah", *places]

    def run(self, base: str) -> Built:
        """Build and write the archive; raises ImageError."""
        if not shutil.which("buildah"):
            raise ImageError("buildah is not installed; as root run: apt-get install buildah mmdebstrap")
        tag = f"tulle:{_version()}"
        self._log.write_text("")
        self._clear()
        try:
            context = self._context()
            based = f"BASE={base or self._base()}"
            self._say("the image; its steps are told in build/image/build.log")
            how = ["--isolation", "chroot", "--layers=false", "--pull=missing", "--build-arg", based, *self._secrets()]
            self._do([*self._buildah, "build", *how, "-t", tag, "-f", str(context / "Containerfile"), str(context)])
            return self._write(tag, sources(context), base)
        finally:
            self._clear()

    def _context(self) -> Path:
        """Copy what the image is built of, so that the tree may change meanwhile."""
        context = self._store[2] / "context"
        for name in _names(ROOT):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, context / name)
        return context

    def _base(self) -> str:
        """Give the name of the base: the Containerfile's own where a registry has it, else one made of Debian's packages."""
        found = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
        assert found is not None
        self._say(f"the base: {found[1]}")
        with contextlib.suppress(ImageError):
            self._do([*self._buildah, "pull", "--quiet", found[1]], seconds=PULL_SECONDS)
            return found[1]
        made = PLACE / "base.tar"
        if not made.exists() or time.time() - made.stat().st_mtime > BASE_SECONDS:
            self._say(f"no registry has it; making one of Debian's packages ({SUITE})")
            self._debian(made)
        name = "localhost/tulle-base"
        self._do([*self._buildah, "build", "-t", name, "-f", "-", str(PLACE)], told="FROM scratch\nADD base.tar /\n")
        return name

    def _debian(self, made: Path) -> None:
        if not shutil.which("mmdebstrap"):
            raise ImageError(
                "no registry has the base and mmdebstrap is not installed; as root run: apt-get install mmdebstrap"
            )
        fresh = made.with_suffix(".new.tar")
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--keyring={KEYRING}"]
        command += [f"--aptopt={option}" for option in _apt_options()]
        command += [f"--dpkgopt=path-exclude=/usr/share/{what}" for what in SLIM]
        command += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
        command += ["--customize-hook=rm -f $1/etc/resolv.conf $1/etc/hostname"]
        self._do([*command, SUITE, str(fresh), *_lines()])
        fresh.replace(made)

    def _secrets(self) -> list[str]:
        """Write what pip is told on this machine where the build can read it: indexes that have an address, and whom it trusts."""
        said = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
        ).stdout
        known = {
            key.rpartition(".")[2]: value.strip("'\"")
            for key, _, value in (line.partition("=") for line in said.splitlines())
        }
        kept = {key: known[key] for key in ("index-url", "trusted-host", "timeout", "proxy") if key in known}
        further = [
            word
            for word in known.get("extra-index-url", "").replace("\\n", " ").split()
            if "://" in word and not word.startswith("file:")
        ]
        kept |= {"extra-index-url": " ".join(further)} if further else {}
        secrets = []
        if "cert" in known:
            kept["cert"] = "/run/roots.pem"
            secrets = ["--secret", f"id=roots,src={known['cert']}"]
        file = self._store[2] / "pip.conf"
        file.touch(mode=0o600)  # an index may have a password in its address
        file.write_text("".join(["[global]\n", *(f"{key} = {value}\n" for key, value in kept.items())]))
        return [*secrets, "--secret", f"id=pip,src={file}"]

    def _write(self, tag: str, seen: str, base: str) -> Built:
        self._say("the archive")
        fresh, digest = self._store[2] / "tulle.tar", self._store[2] / "digest"
        self._do([*self._buildah, "push", "--quiet", "--digestfile", str(digest), tag, f"oci-archive:{fresh}:{tag}"])
        built = Built(
            sources=seen,
            base=base,
            digest=digest.read_text().strip(),
            content_bytes=content(fresh),
            archive_bytes=fresh.stat().st_size,
        )
        ARCHIVE.with_suffix(".json").unlink(missing_ok=True)  # what is told of the archive is never of another one
        fresh.replace(ARCHIVE)
        ARCHIVE.with_suffix(".json").write_text(json.dumps(asdict(built), indent=2) + "\n")
        return built

    def _say(self, what: str) -> None:
        print(f"image: {time.monotonic() - self._begun:4.0f} s  {what}", flush=True)

    def _do(self, command: list[str], *, seconds: float | None = None, told: str = "") -> None:
        """Run a step into the log; raises ImageError with its last words."""
        begun = self._log.stat().st_size
        with self._log.open("ab") as log:
            try:
                code = subprocess.run(
                    command, cwd=ROOT, input=told.encode(), stdout=log, stderr=log, timeout=seconds, check=False,
                    env={**os.environ, "TMPDIR": str(self._store[2])},
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                code = -1
        if code:
            words = self._log.read_bytes()[begun:].decode(errors="replace").splitlines()[-15:]
            raise ImageError(f"{command[0]} ended with {code}:\n" + "\n".join(words))

    def _clear(self) -> None:
        for place in self._store:
            if place.exists():
                remove = ["rm", "-rf", str(place)]
                subprocess.run(remove if os.geteuid() == 0 else ["buildah", "unshare", *remove], check=False)


def _apt_options() -> list[str]:
    """What this machine's apt is told of how Debian is reached and believed."""
    said = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = ("Acquire::Check-", "Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Retries")
    return ['Acquire::Languages "none"', *(line.rstrip(";") for line in said if line.startswith(wanted))]


def _lines() -> list[str]:
    """Lines of a sources.list: the mirrors this machine has its own Debian from."""
    asked = ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    mirrors = dict(reversed([line.split(" ", 1) for line in said]))
    codename = re.search(r"^VERSION_CODENAME=(\S+)$", Path("/etc/os-release").read_text(), re.MULTILINE)
    own = codename[1] if codename else ""
    if own not in mirrors:
        raise ImageError("this machine's apt knows no mirror of Debian; give an image to start from: --base NAME")
    releases = [release for release in ("", "-updates", "-security") if own + release in mirrors]
    return [f"deb [signed-by={KEYRING}] {mirrors[own + r].rstrip('/')} {SUITE}{r} main" for r in releases]


def _version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def content(archive: Path) -> int:
    """Count the bytes of all files of an archive's file system."""
    total = 0
    with tarfile.open(archive) as outer:
        index = json.load(_member(outer, "index.json"))
        manifest = json.load(_member(outer, _blob(index["manifests"][0])))
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=_member(outer, _blob(layer)), mode="r|*") as opened:
                total += sum(entry.size for entry in opened if entry.isreg())
    return total


def _blob(described: dict[str, Any]) -> str:
    return "blobs/" + str(described["digest"]).replace(":", "/")


def _member(outer: tarfile.TarFile, name: str) -> IO[bytes]:
    found = outer.extractfile(name)
    assert found is not None
    return found


def main() -> int:
    """Build and tell; returns 1 when it cannot be built."""
    parser = argparse.ArgumentParser(prog="make image", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--base", default="", help="the image to start from (Debian 13); default: pulled, or else made here"
    )
    parser.add_argument("--anew", action="store_true", help="build even where nothing in this tree has changed")
    parser.add_argument(
        "--present", action="store_true", help="build nothing: print the archive's path if it is this tree's"
    )
    given = parser.parse_args()
    if given.present:
        print(present() or "", end="")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was begun ends, and its storage goes
    try:
        built = ensure(base=given.base, anew=given.anew)
    except ImageError as problem:
        print(f"image: {problem}", file=sys.stderr)
        return 1
    print(f"image: {ARCHIVE.relative_to(ROOT)}, {built.archive_bytes / 1e6:.1f} MB; {built.digest}")
    print(f"image: its files are {built.content_bytes / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
