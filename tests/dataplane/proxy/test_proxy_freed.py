"""Nothing touches what it let go of: the compiled modules hold what they work on by reference only where they say so.

Run with an allocator that overwrites what is freed (`PYTHONMALLOC=debug`), in a process of its own, for what fails ends it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dataplane.proxy import connection

ENDED_BESIDE_ONE_THAT_WAITS = """
from dataplane.config import AppProtocol
from dataplane.protocol.events import RequestHead
from dataplane.protocol.http1.server import Http1Server
from dataplane.protocol.http2.client import Http2Client
from dataplane.protocol.limits import Limits
from tests.dataplane.proxy.rig import Rig, Speaker, cluster, config

wide = Limits(stream_window=1 << 24, connection_window=1 << 26, concurrent_streams=2)
rig = Rig(config(clusters=(cluster("10.1.0.1", protocol=AppProtocol.HTTP1),)), pending_bytes=1 << 24)
client = Speaker(rig.client(http2=True), Http2Client(wide))
client.pump()
for path in (b"/long", b"/short"):
    client.do("send_request", RequestHead(0, b"GET", b"http", b"web", path, [], True, 20), True)
long, short = (Speaker(peer, Http1Server(wide)) for peer in rig.servers)
streams = [server.events(RequestHead)[0].stream for server in (long, short)]
long.do("send_response", streams[0], 200, b"", [], False)
down = next(iter(rig.runtime.downstreams))
for _ in range(100):
    if not down.blocked:
        long.do("send_data", streams[0], bytes(100_000), False)
assert len(down.blocked) == 1, "the first is to wait for its client"
short.do("send_response", streams[1], 204, b"", [], True)
assert down.busy == 1, "the second is to be over"
rig.close()
"""


MACHINES = """
from tests.dataplane.proxy.test_proxy_exchange_machine import ExchangeMachine
from tests.dataplane.proxy.test_proxy_flow import RelayMachine
from tests.support.machines import finds

finds(ExchangeMachine, 40, 50)
finds(RelayMachine, 20, 40)
"""


def run(script: str) -> str:
    """Run it so; return what it says where it fails."""
    environment = {**os.environ, "PYTHONMALLOC": "debug", "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    return f"{done.returncode}: {done.stderr}" if done.returncode else ""


def test_request_ends_beside_one_whose_client_is_behind() -> None:
    """Its exchange was freed before it was looked for among those that wait."""
    assert run(ENDED_BESIDE_ONE_THAT_WAITS) == ""


@pytest.mark.skipif(not connection.__file__.endswith(".so"), reason="sources hold what they work on")
def test_requests_and_relays_of_all_kinds_touch_nothing_freed() -> None:
    """What two machines come to in some thousand steps."""
    assert run(MACHINES) == ""
