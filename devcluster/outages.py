"""What a running cluster goes through when whoever started it says so: a line each on a socket, each answered when it is so.

| order | what happens |
|---|---|
| `api down` | the API server refuses connections, and all it has are cut, watches too |
| `api up` | it serves again, with everything it knew |
| `addresses soon` | the next pod gets the address of the last that ended |
| `addresses late` | an address comes back into use as late as possible (as at the start) |
| `cut <address> <port>` | TCP between an address and that port, at either end of it, is lost in silence |
| `mend` | nothing is lost any more |

Only the API's face goes: controllers and kubelet are parts of this process and see the registry on, so pods restart and Services follow, as nobody outside is told
until it is back. Refuses other orders with a sentence.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from devcluster.api.app import Api
from devcluster.runtime.network import Network
from devcluster.runtime.services import load_rules

_LOG = logging.getLogger(__name__)


class Outages:
    """Takes orders and carries them out, one after the other."""

    def __init__(self, orders: socket.socket, api: Api, network: Network | None) -> None:
        self._orders = orders
        self._network = network
        self._cuts: list[tuple[str, int]] = []
        self._known: dict[str, Callable[[], Awaitable[None]]] = {
            "api down": api.refuse,
            "api up": api.serve,
            "addresses soon": lambda: self._reuse(True),
            "addresses late": lambda: self._reuse(False),
            "mend": self._mend,
        }

    async def run(self) -> None:
        """Carry out what is ordered until the other end is closed."""
        reader, writer = await asyncio.open_connection(sock=self._orders)
        while line := (await reader.readline()).decode().strip():
            writer.write(f"{await self._carry_out(line)}\n".encode())
            await writer.drain()

    async def _carry_out(self, order: str) -> str:
        """Give `done`, or a sentence that says why not."""
        known = self._known.get(order)
        verb, *words = order.split()
        if known is None and verb != "cut":
            return f"there is no order {order!r}; there are {', '.join(self._known)}, cut <address> <port>"
        _LOG.info("ordered: %s", order)
        try:
            await (known() if known is not None else self._cut(*words))
        except (OSError, ValueError, TypeError) as error:
            return f"{order}: {error}"
        return "done"

    async def _cut(self, address: str, port: str) -> None:
        self._cuts.append((str(ipaddress.ip_address(address)), int(port)))
        await load_rules(ruleset(self._cuts))

    async def _mend(self) -> None:
        self._cuts.clear()
        await load_rules(ruleset(self._cuts))

    async def _reuse(self, at_once: bool) -> None:
        if self._network is None:
            raise OSError("this cluster runs no pods")
        self._network.reuse_at_once = at_once


def ruleset(cuts: Sequence[tuple[str, int]]) -> str:
    """Render the table that loses what is cut, to be loaded in one transaction."""
    lines = ["table ip cuts", "delete table ip cuts", "table ip cuts {"]
    for hook in ("input", "forward", "output"):
        lines += [f"  chain {hook} {{", f"    type filter hook {hook} priority -10;"]
        for address, port in cuts:
            lines += [f"    ip {side} {address} tcp {end} {port} drop" for side in _SIDES for end in ("sport", "dport")]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


_SIDES = ("saddr", "daddr")
