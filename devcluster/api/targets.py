"""What a request is about: its URL taken apart.

Pure. In: method, path and query. Out: `Target`, with the verb that authorisation asks about. Refuses nothing: a path that is no resource is a
non-resource path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One request's object."""

    verb: str
    path: str
    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource, for proxies."""

    @property
    def is_resource(self) -> bool:
        """Whether the path names a resource."""
        return bool(self.plural)


def parse(method: str, path: str, query: Mapping[str, str]) -> Target:
    """Take a request apart."""
    verb = _VERBS.get(method, method.lower())
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, parts = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, parts = parts[1], parts[2], parts[3:]
    else:
        return Target(verb=verb, path=path)
    watch_path = parts[0] == "watch" and len(parts) > 1
    if watch_path:
        parts = parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in {"status", "finalize"}:
        namespace, parts = parts[1], parts[2:]
    elif parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
    plural, name = parts[0], parts[1] if len(parts) > 1 else ""
    subresource = parts[2] if len(parts) > 2 else ""
    if verb == "get" and not name:
        verb = "list"
    if verb == "delete" and not name:
        verb = "deletecollection"
    if watch_path or (verb in {"list", "get"} and not subresource and query.get("watch") in {"true", "1"}):
        verb = "watch"
    return Target(
        verb=verb,
        path=path,
        group=group,
        version=version,
        plural=plural,
        namespace=namespace,
        name=name,
        subresource=subresource,
        rest="/".join(parts[3:]),
    )
