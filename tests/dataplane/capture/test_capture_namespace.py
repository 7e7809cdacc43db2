"""The rules in real network namespaces: a pod with an address, a neighbour that calls it, and the acceptor in between."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from dataplane.net.listen import ListenSocket, bind_both
from dataplane.net.original import original_destination
from dataplane.net.stream import Stream
from meshapi import names
from tests.support.net import Echo, Heard, Net, net

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and nft rules need root")

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
POD, POD6, NEIGHBOUR, NEIGHBOUR6 = "10.99.0.2", "fd99::2", "10.99.0.1", "fd99::1"


class Place:
    """A network namespace, held by a descriptor."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; read x"], stdin=-1, stdout=-1)
        assert self.process.stdout
        self.process.stdout.readline()
        self.fd = os.open(f"/proc/{self.process.pid}/ns/net", os.O_RDONLY)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets made inside belong to the namespace."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        assert LIBC.setns(self.fd, CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert LIBC.setns(home, CLONE_NEWNET) == 0
            os.close(home)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        with self.entered():
            return subprocess.run(command, capture_output=True, text=True, check=check)

    def close(self) -> None:
        os.close(self.fd)
        self.process.communicate(b"\n")


@pytest.fixture
def pod() -> Iterator[tuple[Place, Place]]:
    """A pod's namespace and its neighbour's, joined by a veth."""
    here, there = Place(), Place()
    with here.entered():
        pid = str(there.process.pid)
        subprocess.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", pid], check=True)
    for place, v4, v6 in ((here, POD, POD6), (there, NEIGHBOUR, NEIGHBOUR6)):
        place.run("ip", "link", "set", "lo", "up")
        place.run("ip", "address", "add", f"{v4}/24", "dev", "eth0")
        place.run("ip", "address", "add", f"{v6}/64", "dev", "eth0", "nodad")
        place.run("ip", "link", "set", "eth0", "up")
    yield here, there
    here.close()
    there.close()


def capture(place: Place, *arguments: str) -> str:
    """Run `tulle-init` in the namespace, as a container does."""
    done = place.run(sys.executable, "-m", "dataplane.capture", *arguments, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@asynccontextmanager
async def sidecar(place: Place) -> AsyncIterator[tuple[Net, list[tuple[str, tuple[str, int] | None]]]]:
    """Both capture ports, noting what was redirected and echoing."""
    seen: list[tuple[str, tuple[str, int] | None]] = []
    async with net() as n:

        def take(direction: str, stream: Stream) -> None:
            seen.append((direction, original_destination(n.poller.kernel, stream.fd, ":" in stream.peer[0])))
            echo = Echo()
            echo.stream, stream.receiver = stream, echo
            n.accepted.append(echo)

        with place.entered():
            for port, name in ((names.INBOUND_PORT, "inbound"), (names.OUTBOUND_PORT, "outbound")):
                for one in bind_both(port):
                    n.listeners.append(ListenSocket(n.poller, one, lambda stream, name=name: take(name, stream)))
        yield n, seen


async def call(place: Place, address: str, port: int, *, uid: int = 0, dscp: int = 0) -> bytes:
    """Connect from a namespace as a user, say something, and return what comes back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with place.entered():
        os.seteuid(uid)
        try:
            made = socket.socket(family)
        finally:
            os.seteuid(0)
    with made:
        made.setblocking(False)
        if dscp:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            await loop.sock_connect(made, (address, port))
            await loop.sock_sendall(made, b"who is there?")
            return await loop.sock_recv(made, 100)


def serve(n: Net, place: Place, address: str, port: int) -> None:
    """An app of the pod, or of its neighbour."""

    class App(Heard):
        def received(self, data: bytes) -> None:
            assert self.stream
            self.stream.write(b"the app")

        def ended(self) -> None:
            assert self.stream
            self.stream.close()

    def take(stream: Stream) -> None:
        app = App()
        app.stream, stream.receiver = stream, app

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with place.entered():
        listening = socket.socket(family)
        listening.bind((address, port))
        listening.listen()
        listening.setblocking(False)
    n.listeners.append(ListenSocket(n.poller, listening, take))


BACKENDS = pytest.mark.parametrize("backend", ["nft", "iptables"])


@BACKENDS
@pytest.mark.parametrize(("to_pod", "to_neighbour"), [(POD, NEIGHBOUR), (POD6, NEIGHBOUR6)], ids=["ipv4", "ipv6"])
async def test_both_directions_are_captured_with_their_destination(
    pod: tuple[Place, Place], backend: str, to_pod: str, to_neighbour: str
) -> None:
    """The sidecar sees where each connection was going, in both IP versions."""
    here, there = pod
    capture(here, f"--backend={backend}")
    async with sidecar(here) as (_, seen):
        assert await call(there, to_pod, 8080) == b"who is there?"
        assert await call(here, to_neighbour, 80) == b"who is there?"

        assert seen == [("inbound", (to_pod, 8080)), ("outbound", (to_neighbour, 80))]


@BACKENDS
async def test_exemptions_reach_whom_they_called(pod: tuple[Place, Place], backend: str) -> None:
    """The sidecar's own connections, the admin port, localhost, the pod's own address, excluded ports and networks."""
    here, there = pod
    capture(
        here,
        f"--backend={backend}",
        "--exclude-inbound-ports=9100",
        "--exclude-outbound-ports=3306",
        "--exclude-outbound-cidrs=10.99.0.128/25",
    )
    there.run("ip", "address", "add", "10.99.0.200/24", "dev", "eth0")
    async with sidecar(here) as (n, seen):
        for port in (names.PROXY_ADMIN_PORT, 9100, 8080):
            serve(n, here, "0.0.0.0", port)
        for port in (80, 3306):
            serve(n, there, "0.0.0.0", port)

        answers = [
            await call(there, POD, names.PROXY_ADMIN_PORT),
            await call(there, POD, 9100),
            await call(here, NEIGHBOUR, 80, uid=names.PROXY_UID),
            await call(here, NEIGHBOUR, 3306),
            await call(here, "10.99.0.200", 80),
            await call(here, "127.0.0.1", 8080),
            await call(here, POD, 8080),
            await call(here, POD, 8080, uid=names.PROXY_UID),
        ]

        assert answers == [b"the app"] * 8
        assert seen == []


@BACKENDS
async def test_sidecar_reaches_its_own_pod_through_the_front_door(pod: tuple[Place, Place], backend: str) -> None:
    """A pod that calls its own Service: mesh TLS of its sidecar to its own address meets the inbound port."""
    here, _ = pod
    capture(here, f"--backend={backend}")
    async with sidecar(here) as (_, seen):
        assert await call(here, POD, 8080, uid=names.PROXY_UID, dscp=42) == b"who is there?"

        assert seen == [("inbound", (POD, 8080))]


@BACKENDS
async def test_running_twice_changes_nothing(pod: tuple[Place, Place], backend: str) -> None:
    """A restarted init container finds its own rules and leaves one set of them; what others wrote stays."""
    here, _ = pod
    here.run("nft", "add table ip other; add chain ip other keep")
    listing = ["nft", "list", "ruleset"] if backend == "nft" else ["iptables-save", "-t", "nat"]
    capture(here, f"--backend={backend}")
    once = here.run(*listing).stdout
    said = capture(here, f"--backend={backend}")
    twice = here.run(*listing).stdout

    def rules(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("#")]

    assert rules(once) == rules(twice)
    assert "table ip other" in here.run("nft", "list", "ruleset").stdout
    assert said == f"tulle-init: connections are captured ({backend})\n"


def test_without_net_admin_it_says_what_to_change() -> None:
    """The sentence names the capability and where to allow it."""
    done = subprocess.run(
        [
            "setpriv",
            "--bounding-set",
            "-net_admin",
            "--inh-caps",
            "-net_admin",
            sys.executable,
            "-m",
            "dataplane.capture",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[3],
    )

    assert done.returncode == 1
    assert "lacks the capability NET_ADMIN" in done.stderr


def test_without_any_tool_it_says_which_are_missing(tmp_path: Path) -> None:
    """An image without nft and iptables is told so."""
    done = subprocess.run(
        [sys.executable, "-m", "dataplane.capture"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[3],
    )

    assert done.returncode == 1
    assert "nft is not installed; iptables-restore is not installed" in done.stderr
