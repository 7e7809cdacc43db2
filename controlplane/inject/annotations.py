"""What a pod's owner asked for by annotations, read once and completely.

In: a pod's annotations and the operator's defaults. Out: `PodOptions`. Refuses every value it cannot follow with a sentence that
names the annotation, the value and what is allowed; the sentence is what kubectl shows.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from controlplane.inject.refusal import BadAnnotationError
from controlplane.settings import ProxyDefaults
from meshapi import names

LOG_LEVELS = ("debug", "info", "warning", "error")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?\Z")
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_SCALE = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_MAX_CONCURRENCY = 64
_MAX_DRAIN = 3600
_LEAST_IDLE, _MAX_IDLE, _IDLE = 5, 86400, 600


@dataclass(frozen=True, slots=True, kw_only=True)
class PodOptions:
    """One pod's sidecar as it will be: the operator's defaults under the pod's own annotations."""

    exclude_inbound_ports: tuple[int, ...]
    exclude_outbound_ports: tuple[int, ...]
    exclude_outbound_cidrs: tuple[str, ...]
    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    log_level: str
    concurrency: int
    image: str
    drain_seconds: int
    idle_seconds: int
    end_seconds: int
    """How long the sidecar may take from SIGTERM on."""


def read_options(annotations: Mapping[str, str], defaults: ProxyDefaults) -> PodOptions:
    """Read the annotations over the defaults; raises BadAnnotationError."""
    reader = _Reader(annotations)
    reader.ports(names.OPAQUE_PORTS)  # used by the control plane later; a typo is told now
    cpu = reader.resource(names.PROXY_CPU_REQUEST, names.PROXY_CPU_LIMIT, defaults.cpu_request, defaults.cpu_limit)
    memory = reader.resource(
        names.PROXY_MEMORY_REQUEST, names.PROXY_MEMORY_LIMIT, defaults.memory_request, defaults.memory_limit
    )
    drain = reader.number(names.DRAIN_SECONDS, 0, _MAX_DRAIN, defaults.drain_seconds)
    return PodOptions(
        exclude_inbound_ports=reader.ports(names.EXCLUDE_INBOUND_PORTS),
        exclude_outbound_ports=reader.ports(names.EXCLUDE_OUTBOUND_PORTS),
        exclude_outbound_cidrs=reader.cidrs(names.EXCLUDE_OUTBOUND_CIDRS),
        cpu_request=cpu[0],
        cpu_limit=cpu[1],
        memory_request=memory[0],
        memory_limit=memory[1],
        log_level=reader.word(names.PROXY_LOG_LEVEL, LOG_LEVELS, defaults.log_level),
        concurrency=reader.number(names.PROXY_CONCURRENCY, 1, _MAX_CONCURRENCY, defaults.concurrency),
        # Its init container is root with NET_ADMIN, so not any image an author may name.
        image=reader.word(
            names.PROXY_IMAGE, (defaults.image, *sorted(defaults.allowed_images - {defaults.image})), defaults.image
        ),
        drain_seconds=drain,
        idle_seconds=reader.number(names.IDLE_SECONDS, _LEAST_IDLE, _MAX_IDLE, _IDLE),
        end_seconds=drain,
    )


def quantity(text: str) -> Decimal:
    """Compute a Kubernetes quantity's number; raises ValueError."""
    found = _QUANTITY.match(text)
    if not found:
        raise ValueError(text)
    number, suffix = Decimal(found[1]), found[2] or ""
    if suffix == "m":
        return number / 1000
    if suffix.endswith("i"):
        return number * Decimal(1024) ** _SCALE[suffix[0].replace("K", "k")]
    return number * Decimal(1000) ** _SCALE[suffix]


class _Reader:
    """Typed access to annotations, with a sentence for what does not fit."""

    def __init__(self, annotations: Mapping[str, str]) -> None:
        self._annotations = annotations

    def _items(self, name: str) -> list[str]:
        raw = self._annotations.get(name, "")
        return [item.strip() for item in raw.split(",")] if raw.strip() else []

    def ports(self, name: str) -> tuple[int, ...]:
        found = []
        for item in self._items(name):
            if not (_NUMBER.match(item) and 0 < int(item) < 65536):
                raise BadAnnotationError(
                    name, self._annotations[name], "port numbers from 1 to 65535 with commas between"
                )
            found.append(int(item))
        return tuple(dict.fromkeys(found))

    def cidrs(self, name: str) -> tuple[str, ...]:
        found = []
        for item in self._items(name):
            try:
                found.append(str(ipaddress.ip_network(item)))
            except ValueError:
                raise BadAnnotationError(
                    name, self._annotations[name], "networks such as 10.0.0.0/8 or fd00::/8 with commas between"
                ) from None
        return tuple(dict.fromkeys(found))

    def word(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        word = self._annotations.get(name, default)
        if word not in allowed:
            raise BadAnnotationError(name, word, f"{'one of ' if len(allowed) > 1 else ''}{', '.join(allowed)}")
        return word

    def number(self, name: str, low: int, high: int, default: int) -> int:
        raw = self._annotations.get(name, str(default))
        if not (_NUMBER.match(raw) and low <= int(raw) <= high):
            raise BadAnnotationError(name, raw, f"a whole number from {low} to {high}")
        return int(raw)

    def resource(self, request: str, limit: str, default_request: str, default_limit: str) -> tuple[str, str]:
        """Read a request and its limit; a default gives way to the annotation beside it, two annotations must agree."""
        asked, capped = self._quantity(request, default_request), self._quantity(limit, default_limit)
        if asked and capped and quantity(asked) > quantity(capped):
            if request in self._annotations and limit in self._annotations:
                raise BadAnnotationError(request, asked, f"at most {limit}, which is {capped!r}")
            return (asked, asked) if request in self._annotations else (capped, capped)
        return asked, capped

    def _quantity(self, name: str, default: str) -> str:
        raw = self._annotations.get(name)
        if raw is None:
            return default
        if not _QUANTITY.match(raw) or quantity(raw) == 0:
            raise BadAnnotationError(name, raw, "a quantity above zero such as 100m, 0.5, 64Mi or 1Gi")
        return raw
