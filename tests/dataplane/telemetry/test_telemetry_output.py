"""Writing to descriptors nobody may read: it takes what it can, and never waits."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane.telemetry.accesslog import AccessLog
from dataplane.telemetry.output import Output
from tests.dataplane.proxy.rig import Rig, cluster, config

GET = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """A reading and a writing descriptor, both blocking, as a process gets them."""
    if request.param == "pipe":
        reading, writing = os.pipe()
        yield reading, writing
    else:
        left, right = socket.socketpair()
        reading, writing = left.detach(), right.detach()
        yield reading, writing
    for fd in (reading, writing):
        os.close(fd)


def test_full_descriptor_takes_nothing_and_makes_nobody_wait(ends: tuple[int, int]) -> None:
    """And again some when there is room; whoever shares it meets no change."""
    reading, writing = ends
    output = Output(writing)
    total = 0
    while taken := output.write(b"x" * 100_000):
        total += taken
    assert total > 4096
    assert output.write(b"more") == 0
    assert os.get_blocking(writing)
    read = len(os.read(reading, 1 << 20))
    while read < total:
        read += len(os.read(reading, 1 << 20))

    assert read == total
    assert output.write(b"more") == 4
    output.close()


def test_file_is_appended_to(tmp_path: Path) -> None:
    """Opened anew, it must not be written over from its start."""
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    with path.open("ab") as shared:
        output = Output(shared.fileno())
        output.write(b"line\n")
        output.close()

    assert path.read_bytes() == b"before\nline\n"


def test_reader_that_is_gone_is_told(ends: tuple[int, int]) -> None:
    """The caller drops its lines and counts them."""
    reading, writing = ends
    output = Output(writing)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, reading)
    os.close(null)
    with pytest.raises(OSError, match="pipe"):
        output.write(b"x")
    output.close()


def test_log_into_a_full_pipe_drops_whole_lines_counts_them_and_traffic_goes_on() -> None:
    """Memory is bounded, no line is cut."""
    reading, writing = os.pipe()
    rig = Rig(config(clusters=(cluster("10.1.0.1"),)))
    output = Output(writing)
    log = rig.runtime.access_log = AccessLog("json", output.write, rig.runtime.timers)
    try:
        while output.write(b"y" * 4095 + b"\n"):
            pass
        log._size = 1 << 30
        client = rig.client()
        for _ in range(3):
            client.send(GET)
            rig.servers[0].send(OK)
            assert client.read() == OK
        assert log.dropped == 3
        log._size = 0
        client.send(GET)
        rig.servers[0].send(OK)
        log.flush()
        os.read(reading, 1 << 20)
        log.flush()
        assert os.read(reading, 1 << 20).endswith(b"}\n")
    finally:
        rig.close()
        output.close()
        os.close(reading)
        os.close(writing)
