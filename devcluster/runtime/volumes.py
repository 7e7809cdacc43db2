"""A pod's volumes: directories of the node filled from what the pod refers to, and kept as fresh as that is.

In: the pod's volume sources, the registry, the issuer of tokens. Out: directories to mount; files in them change all at once, by one
rename of the `..data` link, as in a kubelet. Refuses with ConfigError what is not there and not optional, and kinds of volumes that
need a storage system.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.runtime.environment import ConfigError, contents, expand, field, referred, resource

Object = dict[str, Any]
_WRITTEN: Final = ("configMap", "secret", "projected", "downwardAPI")
_TOKEN_SECONDS: Final = 3600


class Tokens(Protocol):
    """Makes service-account tokens."""

    def request(self, namespace: str, service_account: str, token_request: Object) -> Object:
        """Answer a TokenRequest."""


@dataclass(frozen=True, slots=True)
class Written:
    """A file to be written."""

    data: bytes
    mode: int


class Volumes:
    """The volumes of one pod."""

    def __init__(self, root: Path, registry: Registry, tokens: Tokens) -> None:
        self._root = root
        self._registry = registry
        self._tokens = tokens
        self._kept_tokens: dict[tuple[str, str], tuple[str, float]] = {}

    def write(self, pod: Object) -> None:
        """Make the volumes, or bring them up to date; raises ConfigError."""
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        for volume in pod["spec"].get("volumes") or []:
            if "hostPath" in volume:
                _check_host_path(volume)
                continue
            place = self._root / volume["name"]
            fresh = not place.exists()
            place.mkdir(parents=True, exist_ok=True)
            if "emptyDir" in volume:
                if fresh:
                    place.chmod(0o2777 if group is not None else 0o777)
            elif written := next((volume[kind] | {"kind": kind} for kind in _WRITTEN if kind in volume), None):
                write_atomically(place, self._files(written, pod), group)
            else:
                kinds = ", ".join(sorted(set(volume) - {"name"}))
                raise ConfigError(f'volume "{volume["name"]}": {kinds} volumes are not supported by this cluster')
            if fresh and group is not None:
                with contextlib.suppress(OSError):
                    os.chown(place, -1, group)

    def refresh_at(self) -> float | None:
        """When the next token must be made anew, on the monotonic clock; None when there is none."""
        return min((due for _, due in self._kept_tokens.values()), default=None)

    def mounts(self, pod: Object, container: Object, env: dict[str, str]) -> list[Object]:
        """List a container's mounts; raises ConfigError."""
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
        found = []
        for mount in container.get("volumeMounts") or []:
            volume = volumes[mount["name"]]
            source = Path(volume["hostPath"]["path"]) if "hostPath" in volume else self._root / mount["name"]
            below = expand(mount["subPathExpr"], env) if mount.get("subPathExpr") else mount.get("subPath", "")
            if below:
                source = self._below(source, below, volume)
            read_only = bool(mount.get("readOnly")) or any(kind in volume for kind in _WRITTEN)
            target = os.path.normpath("/" + mount["mountPath"].lstrip("/"))
            found.append({"source": str(source), "target": target, "read_only": read_only})
        return found

    @staticmethod
    def _below(source: Path, below: str, volume: Object) -> Path:
        if ".." in Path(below).parts or below.startswith("/"):
            raise ConfigError(f'volume "{volume["name"]}": subPath "{below}" must stay below the volume')
        place = source / below
        if "emptyDir" in volume:
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o777)
        elif not place.exists():
            raise ConfigError(f'failed to prepare subPath for volumeMount "{volume["name"]}": {below} is not there')
        return place.resolve()

    def _files(self, source: Object, pod: Object) -> dict[str, Written]:
        mode = source.get("defaultMode", 0o644)
        if source["kind"] != "projected":
            return self._one(source["kind"], source, pod, mode)
        found: dict[str, Written] = {}
        for part in source.get("sources") or []:
            for kind, inner in part.items():
                found |= self._one(kind, inner, pod, mode)
        return found

    def _one(self, kind: str, source: Object, pod: Object, mode: int) -> dict[str, Written]:
        namespace = pod["metadata"]["namespace"]
        match kind:
            case "serviceAccountToken":
                return {source["path"]: Written(self._token(source, pod).encode(), mode)}
            case "downwardAPI":
                items = source.get("items") or []
                return {i["path"]: Written(_downward(i, pod).encode(), i.get("mode", mode)) for i in items}
            case "configMap" | "secret":
                name = source.get("name") or source.get("secretName", "")
                reference = {"name": name, "optional": source.get("optional", False)}
                obj = referred(kind.lower(), reference, namespace, self._registry)
                return {} if obj is None else _items(contents(obj), source, mode, name)
            case _:
                raise ConfigError(f"a projected volume of {kind} is not supported by this cluster")

    def _token(self, source: Object, pod: Object) -> str:
        key = (source.get("audience", ""), source["path"])
        token, due = self._kept_tokens.get(key, ("", 0.0))
        if due > time.monotonic():
            return token
        metadata, seconds = pod["metadata"], source.get("expirationSeconds", _TOKEN_SECONDS)
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec: Object = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if key[0]:
            spec["audiences"] = [key[0]]
        account = pod["spec"].get("serviceAccountName") or "default"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec}
        try:
            answered = self._tokens.request(metadata["namespace"], account, request)
        except StatusError as refused:
            raise ConfigError(f"failed to fetch token: {refused.message}") from None
        token = str(answered["status"]["token"])
        self._kept_tokens[key] = (token, time.monotonic() + min(0.8 * seconds, 24 * 3600))
        return token


def _downward(item: Object, pod: Object) -> str:
    if "fieldRef" in item:
        return field(pod, item["fieldRef"]["fieldPath"])
    wanted = item["resourceFieldRef"]
    containers = {c["name"]: c for c in pod["spec"]["containers"]}
    return resource(containers.get(wanted.get("containerName", ""), {}), wanted)


def _items(data: dict[str, bytes], source: Object, mode: int, name: str) -> dict[str, Written]:
    items = source.get("items")
    if not items:
        return {key: Written(value, mode) for key, value in data.items()}
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not source.get("optional"):
        raise ConfigError(f"references non-existent config key: {missing[0]} (in {name})")
    return {i["path"]: Written(data[i["key"]], i.get("mode", mode)) for i in items if i["key"] in data}


def _check_host_path(volume: Object) -> None:
    path, kind = Path(volume["hostPath"]["path"]), volume["hostPath"].get("type", "")
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch()
    if not path.exists():
        raise ConfigError(f'volume "{volume["name"]}": hostPath {path} is not there')


def write_atomically(place: Path, files: dict[str, Written], group: int | None = None) -> None:
    """Show files at a place, all of them at once; what is already so is left alone."""
    current = place / "..data"
    if current.exists() and _same(current, files):
        return
    fresh = place / time.strftime(f"..%Y_%m_%d_%H_%M_%S.{time.monotonic_ns()}", time.gmtime())
    fresh.mkdir(mode=0o755)
    for path, written in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(written.data)
        target.chmod(written.mode | (0o040 if group is not None else 0))
        if group is not None:
            with contextlib.suppress(OSError):
                os.chown(target, -1, group)
    former = current.resolve() if current.exists() else None
    link = place / "..data_tmp"
    link.symlink_to(fresh.name)
    link.rename(current)
    tops = {Path(path).parts[0] for path in files}
    for name in tops:
        if not (place / name).is_symlink():
            (place / name).symlink_to(f"..data/{name}")
    for entry in place.iterdir():
        if not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    if former is not None:
        shutil.rmtree(former)


def _same(current: Path, files: dict[str, Written]) -> bool:
    there = {str(p.relative_to(current)): p for p in current.rglob("*") if p.is_file()}
    return there.keys() == files.keys() and all(there[path].read_bytes() == w.data for path, w in files.items())
