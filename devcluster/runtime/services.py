"""ClusterIPs: one nft table in the node's namespace, replaced as a whole whenever Services or their endpoints change.

In: Services and EndpointSlices. Out: a ruleset that sends each new connection to a ClusterIP to a ready endpoint at random. A ClusterIP
port with nobody behind it, and an address no Service has, refuse at once, so clients do not hang. Node ports, session affinity and
traffic policies are left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from devcluster.api.registry import Registry
from devcluster.runtime.network import NODE_ADDRESS, SERVICE_CIDR

_LOG = logging.getLogger(__name__)
_SERVICE_LABEL: Final = "kubernetes.io/service-name"
Object = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One port of a ClusterIP and who answers it."""

    address: str
    protocol: str
    port: int
    endpoints: tuple[tuple[str, int], ...]


def targets(services: Iterable[Object], slices: Iterable[Object]) -> list[Target]:
    """Join Services with the endpoints to be used: the ready ones, or when there are none those that still serve."""
    behind: dict[tuple[str, str], list[Object]] = {}
    for piece in slices:
        name = (piece["metadata"].get("labels") or {}).get(_SERVICE_LABEL, "")
        behind.setdefault((piece["metadata"]["namespace"], name), []).append(piece)
    found = []
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        pieces = behind.get((metadata["namespace"], metadata["name"]), [])
        for address in spec.get("clusterIPs") or [spec.get("clusterIP")]:
            if not address or address == "None" or ":" in address:
                continue
            found += [_target(address, port, pieces) for port in spec.get("ports") or []]
    return found


def _target(address: str, port: Object, slices: Iterable[Object]) -> Target:
    by_state: dict[str, list[tuple[str, int]]] = {"ready": [], "serving": []}
    for piece in slices:
        numbers = [p["port"] for p in piece.get("ports") or [] if p.get("name", "") == port.get("name", "")]
        for endpoint in piece.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            ready = conditions.get("ready", True)
            for state, holds in (("ready", ready), ("serving", conditions.get("serving", ready))):
                if holds:
                    by_state[state] += [(endpoint["addresses"][0], number) for number in numbers]
    chosen = by_state["ready"] or by_state["serving"]
    return Target(
        address=address,
        protocol=port.get("protocol", "TCP").lower(),
        port=port["port"],
        endpoints=tuple(sorted(set(chosen))),
    )


def ruleset(found: Iterable[Target]) -> str:
    """Render the whole table, to be loaded in one transaction."""
    served = [target for target in found if target.endpoints]
    lines = ["table ip devcluster", "delete table ip devcluster", "table ip devcluster {"]
    for number, target in enumerate(served):
        choices = ", ".join(f"{i} : {a} . {p}" for i, (a, p) in enumerate(target.endpoints))
        pick = f"dnat ip to numgen random mod {len(target.endpoints)} map {{ {choices} }}"
        lines += [f"  chain to-{number} {{", f"    meta l4proto {target.protocol} {pick}", "  }"]
    elements = ", ".join(f"{t.address} . {t.protocol} . {t.port} : goto to-{n}" for n, t in enumerate(served))
    lines += ["  map services {", "    type ipv4_addr . inet_proto . inet_service : verdict"]
    lines += [f"    elements = {{ {elements} }}"] if elements else []
    lines += ["  }", *_hooks(served), "}"]
    return "\n".join(lines) + "\n"


def _hooks(served: list[Target]) -> Iterator[str]:
    inside = f"ip daddr {SERVICE_CIDR}"
    for hook in ("prerouting", "output"):
        yield f"  chain nat-{hook} {{"
        yield f"    type nat hook {hook} priority -100;"
        yield f"    {inside} ip daddr . meta l4proto . th dport vmap @services"
        yield "  }"
    for hook in ("forward", "output"):
        yield f"  chain filter-{hook} {{"
        yield f"    type filter hook {hook} priority 0;"
        yield f"    {inside} meta l4proto tcp reject with tcp reset"
        yield f"    {inside} reject with icmp type port-unreachable"
        yield "  }"
    pods = sorted({address for target in served for address, _ in target.endpoints if address != NODE_ADDRESS})
    yield "  chain nat-postrouting {"
    yield "    type nat hook postrouting priority 100;"
    if pods:
        # A pod that reaches itself by its Service would see its own address come from outside and drop it.
        pairs = ", ".join(f"{address} . {address}" for address in pods)
        yield f"    ip saddr . ip daddr {{ {pairs} }} snat to {NODE_ADDRESS}"
    yield "  }"


class ServiceRules:
    """Keeps the table in step with the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._changed = asyncio.Event()
        self._loaded = ""

    async def run(self) -> None:
        """Load the table now and after every change."""
        ends = [self._registry.subscribe(kind, lambda _: self._changed.set()) for kind in _KINDS]
        try:
            while True:
                self._changed.clear()
                await self._load()
                await self._changed.wait()
        finally:
            for end in ends:
                end()

    async def _load(self) -> None:
        services, slices = (self._registry.list(kind) for kind in _KINDS)
        text = ruleset(targets(services, slices))
        if text == self._loaded:
            return
        try:
            await load_rules(text)
        except OSError as refused:
            _LOG.error("the services' rules: %s", refused)
            return
        self._loaded = text


async def load_rules(text: str) -> None:
    """Have the kernel take a ruleset as a whole; raises OSError with what nft says against it."""
    process = await asyncio.create_subprocess_exec(
        "nft", "-f", "-", stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate(text.encode())
    if process.returncode:
        raise OSError(f"nft refused them: {said.decode().strip()}")


_KINDS: Final = ("services", "endpointslices.discovery.k8s.io")
