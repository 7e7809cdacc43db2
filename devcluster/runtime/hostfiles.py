"""The three files every container finds: hosts, resolv.conf and hostname, as a kubelet writes them.

In: the pod and its address. Out: files in the pod's directory. `dnsPolicy: Default` means cluster DNS as well: the node has no other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from devcluster.runtime.dns import DOMAIN
from devcluster.runtime.environment import hostname
from devcluster.runtime.network import DNS_ADDRESS

Object = dict[str, Any]
_LOCAL: Final = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def write_host_files(directory: Path, pod: Object, address: str) -> None:
    """Write the files."""
    (directory / "hostname").write_text(hostname(pod) + "\n")
    (directory / "hosts").write_text(_hosts(pod, address))
    (directory / "resolv.conf").write_text(_resolver(pod))


def _hosts(pod: Object, address: str) -> str:
    spec, name = pod["spec"], hostname(pod)
    full = f"{name}.{spec['subdomain']}.{pod['metadata']['namespace']}.svc.{DOMAIN}\t" if spec.get("subdomain") else ""
    lines = ["# Kubernetes-managed hosts file.\n", _LOCAL, f"{address}\t{full}{name}\n"]
    lines += [f"{alias['ip']}\t{'	'.join(alias['hostnames'])}\n" for alias in spec.get("hostAliases") or []]
    return "".join(lines)


def _resolver(pod: Object) -> str:
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    given = spec.get("dnsConfig") or {}
    own = spec.get("dnsPolicy") != "None"
    servers = [*([DNS_ADDRESS] if own else []), *(given.get("nameservers") or [])]
    searches = [f"{namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN] if own else []
    options = {"ndots": "5"} if own else {}
    options |= {option["name"]: option.get("value", "") for option in given.get("options") or []}
    lines = [f"nameserver {server}\n" for server in servers]
    if names := [*searches, *(given.get("searches") or [])]:
        lines.insert(0, f"search {' '.join(names)}\n")
    if options:
        lines.append(f"options {' '.join(f'{k}:{v}' if v else k for k, v in options.items())}\n")
    return "".join(lines)
