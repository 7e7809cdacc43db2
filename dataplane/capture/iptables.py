"""Settings to iptables: the same rules where nft cannot be used.

In: `CaptureSettings`, the IP version, and which hooks already lead into our chains. Out: the text for
`iptables-restore --noflush`, which flushes only chains it names. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from dataplane.capture.settings import CaptureSettings
from dataplane.net.hairpin import DSCP

INBOUND = "TULLE_INBOUND"
OUTBOUND = "TULLE_OUTBOUND"
HOOKS = (("PREROUTING", INBOUND), ("OUTPUT", OUTBOUND))


def restore(settings: CaptureSettings, version: int, *, hooked: Collection[str] = ()) -> str:
    """Write the nat table's part; the jumps into our chains are added at hooks that lack them."""
    own = f"-m owner --uid-owner {settings.proxy_uid}"
    lines = [f":{INBOUND} - [0:0]", f":{OUTBOUND} - [0:0]"]
    lines += [f"-A {INBOUND} -p tcp --dport {port} -j RETURN" for port in settings.exclude_inbound_ports]
    lines += [
        f"-A {INBOUND} -p tcp -j REDIRECT --to-ports {settings.inbound_port}",
        f"-A {OUTBOUND} -o lo -p tcp -m dscp --dscp {DSCP} {own} -j REDIRECT --to-ports {settings.inbound_port}",
        f"-A {OUTBOUND} {own} -j RETURN",
        f"-A {OUTBOUND} -o lo -j RETURN",
    ]
    lines += [f"-A {OUTBOUND} -p tcp --dport {port} -j RETURN" for port in settings.exclude_outbound_ports]
    lines += [f"-A {OUTBOUND} -d {cidr} -j RETURN" for cidr in settings.cidrs(version)]
    lines += [f"-A {OUTBOUND} -p tcp -j REDIRECT --to-ports {settings.outbound_port}"]
    lines += [f"-A {hook} -p tcp -j {chain}" for hook, chain in HOOKS if hook not in hooked]
    return "\n".join(["*nat", *lines, "COMMIT", ""])
