"""What `tulle-init` is told: which ports and networks stay out of the mesh.

In: command line arguments (the injector writes them from the pod's annotations, checked there already). Out: a frozen
`CaptureSettings`. Refuses ports and CIDRs that are none, naming argument, value and what is right.
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Sequence

from meshapi import names
from meshapi.records import record


class BadCaptureError(ValueError):
    """An argument that means nothing; the message is the sentence to show."""


@record
class CaptureSettings:
    """Everything the rules depend on."""

    inbound_port: int = names.INBOUND_PORT
    outbound_port: int = names.OUTBOUND_PORT
    proxy_uid: int = names.PROXY_UID
    exclude_inbound_ports: tuple[int, ...] = (names.PROXY_ADMIN_PORT,)
    """The sidecar's admin port is always among them: the kubelet and the scraper reach it directly."""
    exclude_outbound_ports: tuple[int, ...] = ()
    exclude_outbound_cidrs: tuple[str, ...] = ()
    backend: str = "auto"
    """`nft`, `iptables`, or `auto`: nft where it works."""
    dry_run: bool = False
    """Print the rules instead of writing them."""

    def cidrs(self, version: int) -> tuple[str, ...]:
        """The excluded networks of one IP version."""
        return tuple(c for c in self.exclude_outbound_cidrs if ipaddress.ip_network(c).version == version)


def read(arguments: Sequence[str]) -> CaptureSettings:
    """Read the command line; raises BadCaptureError."""
    parser = argparse.ArgumentParser(
        prog="tulle-init", description="Lead a pod's TCP connections through its Tulle sidecar."
    )
    parser.add_argument("--exclude-inbound-ports", default="", metavar="PORTS", help="comma-separated; not captured")
    parser.add_argument("--exclude-outbound-ports", default="", metavar="PORTS", help="comma-separated; not captured")
    parser.add_argument("--exclude-outbound-cidrs", default="", metavar="CIDRS", help="comma-separated; not captured")
    parser.add_argument("--backend", default="auto", choices=("auto", "nft", "iptables"))
    parser.add_argument("--dry-run", action="store_true", help="print the rules and write nothing")
    given = parser.parse_args(arguments)
    inbound = _ports("--exclude-inbound-ports", given.exclude_inbound_ports)
    return CaptureSettings(
        exclude_inbound_ports=tuple(sorted({names.PROXY_ADMIN_PORT, *inbound})),
        exclude_outbound_ports=_ports("--exclude-outbound-ports", given.exclude_outbound_ports),
        exclude_outbound_cidrs=_cidrs("--exclude-outbound-cidrs", given.exclude_outbound_cidrs),
        backend=given.backend,
        dry_run=given.dry_run,
    )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _ports(argument: str, text: str) -> tuple[int, ...]:
    for part in _parts(text):
        if not part.isascii() or not part.isdigit() or not 0 < int(part) < 65536:
            raise BadCaptureError(
                f"{argument} has {part!r}; right are port numbers from 1 to 65535, separated by commas"
            )
    return tuple(sorted({int(part) for part in _parts(text)}))


def _cidrs(argument: str, text: str) -> tuple[str, ...]:
    found: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
    for part in _parts(text):
        try:
            found.append(ipaddress.ip_network(part, strict=False))
        except ValueError:
            raise BadCaptureError(
                f"{argument} has {part!r}; right are networks like 10.0.0.0/8 or fd00::/8, separated by commas"
            ) from None
    # nft refuses intervals that overlap in one set.
    v4 = ipaddress.collapse_addresses(n for n in found if isinstance(n, ipaddress.IPv4Network))
    v6 = ipaddress.collapse_addresses(n for n in found if isinstance(n, ipaddress.IPv6Network))
    return tuple(str(network) for network in [*v4, *v6])
