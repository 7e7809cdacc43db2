"""Image archives made by hand: layers of entries, as an OCI layout or as docker writes them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Layer = Sequence[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]]


def file(name: str, data: bytes = b"", *, mode: int = 0o644, owner: int = 0) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.uid, entry.gid, entry.mtime = len(data), mode, owner, owner, 1_700_000_000
    return entry, data


def directory(name: str, *, mode: int = 0o755) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    return entry


def link(name: str, goal: str, *, hard: bool = False) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.LNKTYPE if hard else tarfile.SYMTYPE, goal
    return entry


def programs(*names: str) -> Layer:
    """Programs of this machine with the libraries they need, at their places."""
    found = [str(Path("/bin", name)) for name in names]
    listed = subprocess.run(["ldd", *found], capture_output=True, text=True, check=True).stdout.split()
    libraries = sorted({word for word in listed if word.startswith("/") and not word.endswith(":")})
    return [file(path.lstrip("/"), Path(path).read_bytes(), mode=0o755) for path in (*found, *libraries)]


def tar(layer: Layer) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as opened:
        for item in layer:
            entry, data = item if isinstance(item, tuple) else (item, None)
            opened.addfile(entry, None if data is None else io.BytesIO(data))
    return out.getvalue()


def docker_members(*layers: Layer, config: dict[str, Any] | None = None) -> dict[str, bytes]:
    """The files of docker's own archive, its layers plain."""
    members = {f"{number}/layer.tar": tar(layer) for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "RepoTags": ["x:1"], "Layers": list(members)}]
    sums = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in members.values()]
    members["config.json"] = json.dumps({"config": config or {}, "rootfs": {"diff_ids": sums}}).encode()
    members["manifest.json"] = json.dumps(manifest).encode()
    return members


def docker_archive(path: Path, *layers: Layer, config: dict[str, Any] | None = None) -> Path:
    path.write_bytes(tar([file(name, data) for name, data in docker_members(*layers, config=config).items()]))
    return path


def oci_members(*layers: Layer, config: dict[str, Any] | None = None) -> dict[str, bytes]:
    """The files of an OCI layout, its layers compressed."""
    members: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        members[f"blobs/sha256/{digest}"] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    manifest = {
        "layers": [blob(gzip.compress(tar(layer))) for layer in layers],
        "config": blob(json.dumps({"config": config or {}}).encode()),
    }
    members["index.json"] = json.dumps({"manifests": [blob(json.dumps(manifest).encode())]}).encode()
    return members


def oci_archive(path: Path, *layers: Layer, config: dict[str, Any] | None = None) -> Path:
    path.write_bytes(tar([file(name, data) for name, data in oci_members(*layers, config=config).items()]))
    return path
