"""What is served, told to clients: groups, versions, kinds and verbs, in the aggregated form and in the old one.

In: the rows in service. Out: discovery documents. Refuses a group or version that has no row with 404.
"""

from __future__ import annotations

from collections.abc import Iterator

from devcluster.api.errors import Object, StatusError
from devcluster.api.kinds import Resource, Resources

AGGREGATED = "APIGroupDiscoveryList"
_SUBKINDS = {"scale": ("autoscaling", "v1", "Scale"), "eviction": ("policy", "v1", "Eviction")}
_TOKEN = ("authentication.k8s.io", "v1", "TokenRequest")
_STREAMS = frozenset({"exec", "attach", "portforward", "proxy"})


def versions(rows: list[Resource]) -> list[str]:
    """Give the versions of a group, the preferred one first: stable before beta before alpha, higher before lower."""
    found = {version for row in rows for version in row.versions}

    def rank(version: str) -> tuple[int, str]:
        return (2 if "alpha" in version else 1 if "beta" in version else 0), version

    stable = sorted((v for v in found if rank(v)[0] == 0), key=lambda v: (len(v), v), reverse=True)
    return stable + sorted((v for v in found if rank(v)[0]), key=lambda v: (rank(v)[0], [-ord(c) for c in v]))


def groups(resources: Resources) -> dict[str, list[Resource]]:
    """Give the rows of every group."""
    found: dict[str, list[Resource]] = {}
    for row in resources:
        if row.versions:
            found.setdefault(row.group, []).append(row)
    return found


def aggregated(resources: Resources, core: bool) -> Object:
    """Give everything at once, as `apidiscovery.k8s.io/v2` has it: the core group for /api, the others for /apis."""
    items = []
    for group, rows in groups(resources).items():
        if (group == "") == core:
            shown = [
                {"version": version, "freshness": "Current", "resources": [_aggregated(r, version) for r in served]}
                for version in versions(rows)
                if (served := [row for row in rows if version in row.versions])
            ]
            items.append({"metadata": {"name": group, "creationTimestamp": None}, "versions": shown})
    return {"kind": AGGREGATED, "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated(row: Resource, version: str) -> Object:
    shown: Object = {
        "resource": row.plural,
        "responseKind": {"group": row.group, "version": version, "kind": row.kind},
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
    }
    if row.short_names:
        shown["shortNames"] = list(row.short_names)
    if row.categories:
        shown["categories"] = list(row.categories)
    if row.subresources:
        shown["subresources"] = [
            {
                "subresource": name,
                "responseKind": dict(zip(("group", "version", "kind"), _kind(row, version, name), strict=True)),
                "verbs": _verbs(name),
            }
            for name in row.subresources
        ]
    return shown


def _kind(row: Resource, version: str, subresource: str) -> tuple[str, str, str]:
    if subresource == "token":
        return _TOKEN
    return _SUBKINDS.get(subresource, (row.group, version, row.kind))


def _verbs(subresource: str) -> list[str]:
    if subresource in _STREAMS:
        return ["create", "get"]
    return {
        "log": ["get"],
        "token": ["create"],
        "eviction": ["create"],
        "binding": ["create"],
        "finalize": ["update"],
    }.get(subresource, ["get", "patch", "update"])


def core_versions(address: str) -> Object:
    """Answer /api the old way."""
    server = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": server}


def group_list(resources: Resources) -> Object:
    """Answer /apis the old way."""
    found = [group(resources, name) for name in groups(resources) if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(resources: Resources, name: str) -> Object:
    """Answer /apis/GROUP; raises StatusError(404)."""
    rows = groups(resources).get(name)
    if not rows:
        raise missing()
    shown = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions(rows)]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": shown,
        "preferredVersion": shown[0],
    }


def resource_list(resources: Resources, name: str, version: str) -> Object:
    """Answer /apis/GROUP/VERSION and /api/v1; raises StatusError(404)."""
    rows = [row for row in groups(resources).get(name, []) if version in row.versions]
    if not rows:
        raise missing()
    shown = [entry for row in rows for entry in _entries(row, version)]
    group_version = f"{name}/{version}".lstrip("/")
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": shown}


def _entries(row: Resource, version: str) -> Iterator[Object]:
    entry: Object = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": list(row.verbs),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    yield entry
    for name in row.subresources:
        group_, version_, kind = _kind(row, version, name)
        more = {"group": group_, "version": version_} if (group_, version_) != (row.group, version) else {}
        yield {
            "name": f"{row.plural}/{name}",
            "singularName": "",
            "namespaced": row.namespaced,
            "kind": kind,
            "verbs": _verbs(name),
        } | more


def missing() -> StatusError:
    """Say that nothing is served there."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")
