"""Two hundred streams of 64 KB on one connection, from a client with windows of 16 MB: whatever its peers do meanwhile, all of it arrives.

Such a client hung in some of the runs of the first version. Here its moves are drawn from a seed: who sends, stalls, takes a little or is lazy about
what it has read. The laws are the flow machine's (`test_proxy_flow`), and so is the judge at the end: everything has arrived, and the end after it.
"""

from __future__ import annotations

import random

import pytest

from dataplane.protocol.limits import Limits
from tests.dataplane.proxy.test_proxy_flow import HttpMachine
from tests.support.machines import within

pytestmark = within(600)

STREAMS = 200
SIZE = 65_536
WIDE = Limits(stream_window=(1 << 24) - 1, connection_window=1 << 30, concurrent_streams=1000)


class Wide(HttpMachine):
    """The machine of bodies, with one client that takes whatever is sent."""

    limits = WIDE

    def open(self, up: int, down: int) -> None:
        """Send the heads of all requests at once; sizes as of `Way`."""
        client = self.client = self.connect()
        self.quiet()
        client.read(1 << 16, self.known)
        for _ in range(STREAMS):
            self.begin_call(client, up, down)
        client.flush()
        self.quiet()

    def move(self, dice: random.Random) -> None:
        """Let somebody do something."""
        for talker in self.talkers[1:]:
            talker.read(dice.choice([400, 60_000]), self.known)
        size, at = dice.choice([16_384, SIZE]), dice.randrange(STREAMS)
        match dice.choices(("up", "down", "choke", "push", "read", "settle"), (30, 30, 10, 10, 17, 3))[0]:
            case "up":
                for _ in range(20):
                    self.upload(dice.randrange(STREAMS), size, dice.random() < 0.3)
            case "down":
                for _ in range(20):
                    self.download(dice.randrange(STREAMS), size, dice.random() < 0.3)
            case "choke":
                self.choke(at, dice.random() < 0.5)
            case "push":
                self.push(at, dice.choice([1, 100, 5_000, 400_000]))
            case "read":
                self.read(at, dice.choice([100, 5_000, 60_000, 400_000]), dice.random() < 0.3)
            case _:
                self.settle()
        self.moving()


@pytest.mark.parametrize("seed", range(4))
def test_many_streams_of_a_client_with_wide_windows_arrive_whole(seed: int) -> None:
    """To an HTTP/1 or HTTP/2 server, with short or long socket buffers, lengths known or not."""
    dice = random.Random(seed)
    machine = Wide()
    machine.start(dice.choice([4_608, 212_992]), True, seed % 2 == 0, False)
    try:
        machine.open(dice.choice([-1, SIZE, 1]), dice.choice([-1, SIZE]))
        assert len(machine.known) == STREAMS
        for _ in range(60):
            machine.move(dice)
        machine.settle()
    finally:
        machine.teardown()
