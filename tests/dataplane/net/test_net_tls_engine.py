"""The TLS engine alone: two of them, a socket pair, and every way records can be cut."""

from __future__ import annotations

import os
import select
import shutil
import socket
import ssl
import subprocess
import sys
from contextlib import suppress

import pytest

from dataplane.net import tls_library
from dataplane.net.system import Kernel
from dataplane.net.tls_engine import DONE, FAILED, MORE, TlsEngine
from dataplane.net.tls_library import Context
from tests.support.certs import Authority
from tests.support.net import connected_pair
from tests.support.openssl import ask_for_new_keys, limit_fragments


class End:
    """One engine on one socket."""

    def __init__(self, context: Context, sock: socket.socket, *, server: bool) -> None:
        self.engine = TlsEngine(context, server, None)
        self.sock = sock
        self.kernel = Kernel()

    def flush(self) -> None:
        while self.engine.waiting:
            assert self.engine.send(self.kernel, self.sock.fileno()) > 0

    def pump(self, piece: int = 0) -> bytes:
        """Receive what is there (in pieces of a size) and return the plaintext."""
        got = b""
        while (size := self.kernel.fill(self.sock.fileno())) > 0:
            data = self.kernel.filled
            for at in range(0, size, piece or size):
                self.engine.read_from(data[at : at + (piece or size)])
                while (plain := self.engine.read()) is not None:
                    got += plain
        return got

    def get(self, size: int, piece: int = 0) -> bytes:
        """Wait for so many bytes of plaintext."""
        got = b""
        while len(got) < size:
            self.arrival()
            got += self.pump(piece)
        return got

    def arrival(self) -> None:
        """Wait for bytes from the peer."""
        ready, _, _ = select.select([self.sock], [], [], 5)
        assert ready

    def shake(self) -> int:
        while self.kernel.fill(self.sock.fileno()) > 0:
            self.engine.take(self.kernel, len(self.kernel.filled))
            self.engine.handshake()
            self.engine.keep()
        outcome = self.engine.handshake()
        self.flush()
        return outcome


def contexts() -> tuple[Context, Context]:
    from dataplane.net.tls import TlsContexts

    authority = Authority()
    made = TlsContexts()
    return made.server(authority.context()).context, made.client(authority.context()).context


def ends() -> tuple[End, End]:
    server_context, client_context = contexts()
    near, far = connected_pair()
    client, server = End(client_context, near, server=False), End(server_context, far, server=True)
    assert client.shake() == MORE
    while [server.shake(), client.shake()] != [DONE, DONE]:
        pass
    return client, server


def close(*both: End) -> None:
    for end in both:
        end.sock.close()
        end.kernel.shut()


def send(end: End, *chunks: bytes) -> None:
    """Seal a whole queue."""
    queue, offset = list(chunks), 0
    while queue:
        end.engine.seal(end.kernel, end.sock.fileno(), queue, offset)
        end.flush()
        assert not end.engine.error
        left = end.engine.taken + offset
        while queue and left >= len(queue[0]):
            left -= len(queue.pop(0))
        offset = left


def test_handshake_ends_on_both_sides_with_aes_128() -> None:
    """Each end knows the other's certificate; where OpenSSL is called directly the cheaper cipher is agreed on."""
    client, server = ends()

    for end in (client, server):
        certificate = end.engine.certificate()
        assert certificate
        assert certificate["subjectAltName"] == (("URI", "spiffe://test/ns/a/sa/server"),)
        assert end.engine.alpn() == "tulle-tcp"
    close(client, server)


@pytest.mark.parametrize("piece", [0, 1, 7, 1000, 16384, 20000])
def test_records_survive_however_they_are_cut(piece: int) -> None:
    """Ciphertext arriving in pieces of any size gives the same plaintext."""
    client, server = ends()
    data = bytes(range(256)) * 200
    send(client, data)

    assert server.get(len(data), piece) == data
    close(client, server)


def test_part_of_a_record_is_told_from_none() -> None:
    """Byte by byte: nothing is left unopened behind a whole record, and all the record may hold where it is not whole."""
    client, server = ends()
    server.pump()
    for size in (1, 300, 16384):
        send(client, b"x" * size)
        sealed = size + 22
        raw = b""
        while len(raw) < sealed:
            server.arrival()
            server.kernel.fill(server.sock.fileno())
            raw += server.kernel.filled
        assert len(raw) == sealed
        for at in range(1, sealed + 1):
            server.engine.read_from(raw[at - 1 : at])
            opened = server.engine.read()
            assert (opened == b"x" * size) is (at == sealed)
            assert server.engine.unopened == 0 if at == sealed else server.engine.unopened >= at
    close(client, server)


def test_records_not_opened_yet_are_counted_as_they_are() -> None:
    """Of those behind the one that was read, however many came at once; also where the rest is kept for later."""
    client, server = ends()
    server.pump()
    send(client, b"a" * 100)
    send(client, b"b" * 200)
    server.arrival()
    size = server.kernel.fill(server.sock.fileno())  # a socket pair: both are there
    server.engine.take(server.kernel, size)
    assert server.engine.unopened == 122 + 222
    assert server.engine.read() == b"a" * 100
    server.engine.keep()
    assert server.engine.unopened == 222
    assert server.engine.read() == b"b" * 200
    assert server.engine.unopened == 0
    close(client, server)


@pytest.mark.parametrize(
    "sizes",
    [[1], [16384], [16385], [10] * 5000, [70_000], [16383, 1, 16384, 3], [40_000, 5, 40_000], [65_536, 65_536]],
    ids=str,
)
def test_queues_of_any_shape_arrive_whole(sizes: list[int]) -> None:
    """Long pieces are encrypted where they lie, short ones gathered; none is lost, doubled or out of order."""
    client, server = ends()
    chunks = [bytes([n % 251]) * size for n, size in enumerate(sizes)]
    got = b""
    queue, offset = list(chunks), 0
    while queue:
        client.engine.seal(client.kernel, client.sock.fileno(), queue, offset)
        got += server.pump()
        client.flush()
        got += server.pump()
        left = client.engine.taken + offset
        while queue and left >= len(queue[0]):
            left -= len(queue.pop(0))
        offset = left
    got += server.get(sum(sizes) - len(got))

    assert got == b"".join(chunks)
    close(client, server)


def test_what_the_kernel_does_not_take_waits_and_is_sent_later() -> None:
    """A full socket leaves ciphertext waiting, in order before what is sealed next."""
    client, server = ends()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sent = 0
    while not client.engine.waiting:
        client.engine.seal(client.kernel, client.sock.fileno(), [b"w" * 65536], 0)
        sent += client.engine.taken
    got = server.pump()
    while client.engine.waiting:
        client.engine.send(client.kernel, client.sock.fileno())
        got += server.pump()
    got += server.get(sent - len(got))

    assert len(got) == sent
    assert set(got) == {ord("w")}
    close(client, server)


def test_close_notify_ends_one_direction() -> None:
    """The peer reads an end, and can still send."""
    client, server = ends()
    send(client, b"last")
    client.engine.notify()
    client.flush()
    assert server.get(4) == b"last"
    while not server.engine.ended:
        server.arrival()
        server.pump()

    assert not server.engine.error
    send(server, b"not for me")
    assert client.get(10) == b"not for me"
    close(client, server)


def test_forged_record_is_an_error() -> None:
    """A bit turned on the way is found, said, and answered with an alert."""
    client, server = ends()
    send(client, b"money")
    server.arrival()
    assert server.kernel.fill(server.sock.fileno()) > 0
    data = bytearray(server.kernel.filled)
    data[-1] ^= 1
    server.engine.read_from(bytes(data))

    assert server.engine.read() is None
    said = server.engine.error.replace("_", " ").lower()
    assert "decryption failed" in said or said == "record layer failure", said  # as OpenSSL 3.0 says it, and 3.5
    close(client, server)


def test_garbage_is_no_handshake() -> None:
    """It fails with OpenSSL's words."""
    server_context, _ = contexts()
    near, far = connected_pair()
    server = End(server_context, far, server=True)
    server.engine.read_from(b"GET / HTTP/1.1\r\n\r\n")

    assert server.engine.handshake() == FAILED
    assert server.engine.error
    close(server)
    near.close()


class Foreign:
    """A client by Python's `ssl` that has shaken hands with an engine; what either sends is passed by hand."""

    def __init__(self, fragments: int = 0) -> None:
        server, context = contexts()
        if fragments:
            limit_fragments(context, fragments)
        near, far = connected_pair()
        self.sock, self.server = near, End(server, far, server=True)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls_library.connection(context, self.incoming, self.outgoing, False, None)
        for _ in range(3):
            with suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
            self.server.engine.read_from(self.outgoing.read())
            self.server.engine.handshake()
            self.server.flush()
            with suppress(BlockingIOError):
                self.incoming.write(self.sock.recv(1 << 16))

    def close(self) -> None:
        self.sock.close()
        close(self.server)


@pytest.mark.parametrize("code", [4, 3, 2, 1])
def test_client_of_short_records_gets_long_answers_whole(code: int) -> None:
    """A client may ask for records of 512 bytes: a batch then has 128 of them, each with its header and tag."""
    client = Foreign(code)
    data = bytes(range(251)) * 1000
    engine, got, at = client.server.engine, b"", 0
    while len(got) < len(data):
        if at < len(data):
            engine.seal(client.server.kernel, client.server.sock.fileno(), [data], at)
            assert not engine.error
            at += engine.taken
            client.server.flush()
        ready, _, _ = select.select([client.sock], [], [], 5)
        assert ready
        client.incoming.write(client.sock.recv(1 << 18))
        with suppress(ssl.SSLWantReadError):
            while True:
                got += client.tls.read(1 << 16)

    assert got == data
    client.close()


def test_answers_to_new_keys_wait_to_be_sent() -> None:
    """What OpenSSL writes while we read is told at once, not when we next send."""
    client = Foreign()
    for _ in range(2):  # OpenSSL answers before it reads or writes on
        ask_for_new_keys(client.tls)
        client.server.engine.read_from(client.outgoing.read())
        assert client.server.engine.read() is None

    assert client.server.engine.waiting > 0
    client.close()


COLLECTED = """
import gc, ssl
from dataplane.net.tls_engine import TlsEngine
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
gc.disable()
engine = TlsEngine(context, False, None)
cycle = [engine]
cycle.append(cycle)
del engine, cycle
gc.collect()
"""


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_collected_engine_touches_no_freed_memory() -> None:
    """The collector may take an engine's parts in any order (it meets the engine before the list that holds it)."""
    command = ["valgrind", "-q", "--error-exitcode=9", "--undef-value-errors=no", sys.executable, "-c", COLLECTED]
    done = subprocess.run(command, env={**os.environ, "PYTHONMALLOC": "malloc"}, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()
