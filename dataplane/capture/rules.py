"""Settings to nft: one table of our own, made anew in one transaction, so running twice changes nothing.

In: `CaptureSettings`. Out: the text for `nft -f -`. Refuses nothing; nobody else's table is touched. Read top to bottom a
chain says what is left alone and why, and its last line captures the rest.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.capture.settings import CaptureSettings
from dataplane.net.hairpin import DSCP

TABLE = "inet tulle"


def transaction(settings: CaptureSettings) -> str:
    """Write the whole transaction: drop the table if it is there, then make it."""
    return f"add table {TABLE}\ndelete table {TABLE}\n{table(settings)}"


def table(settings: CaptureSettings) -> str:
    """Write the table."""
    inbound = [
        *_unless("tcp dport", map(str, settings.exclude_inbound_ports)),
        f"meta l4proto tcp redirect to :{settings.inbound_port}",
    ]
    proxy = f"meta skuid {settings.proxy_uid}"
    outbound = [
        # The sidecar calls its own pod through the mesh: in by the front door.
        f'{proxy} oifname "lo" ip dscp {DSCP} meta l4proto tcp redirect to :{settings.inbound_port}',
        f'{proxy} oifname "lo" ip6 dscp {DSCP} meta l4proto tcp redirect to :{settings.inbound_port}',
        f"{proxy} return",
        # The pod's containers among themselves, by localhost or by the pod's own address.
        'oifname "lo" return',
        *_unless("tcp dport", map(str, settings.exclude_outbound_ports)),
        *_unless("ip daddr", settings.cidrs(4)),
        *_unless("ip6 daddr", settings.cidrs(6)),
        f"meta l4proto tcp redirect to :{settings.outbound_port}",
    ]
    return f"table {TABLE} {{\n{_chain('inbound', 'prerouting', inbound)}{_chain('outbound', 'output', outbound)}}}\n"


def _unless(what: str, values: Iterable[str]) -> list[str]:
    listed = ", ".join(values)
    return [f"{what} {{ {listed} }} return"] if listed else []


def _chain(name: str, hook: str, lines: list[str]) -> str:
    body = "".join(f"\t\t{line}\n" for line in lines)
    return f"\tchain {name} {{\n\t\ttype nat hook {hook} priority -100; policy accept;\n{body}\t}}\n"
