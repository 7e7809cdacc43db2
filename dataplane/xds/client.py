"""The sidecar's connection to the control plane: certificate first, then the delta ADS stream, and again after every loss.

In: where the control plane is, the credentials, a sans-io `session`. Out: certificates into the credentials, messages into the
session, and `on_update` after each that changed something. A lost connection is dialled again with jittered back-off and the
session resumes by the versions it holds; traffic goes on meanwhile (D11). Every refusal is logged once, in a sentence.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from google.protobuf.message import DecodeError

from dataplane.chance import dice
from dataplane.config import StringMatch, TlsContext, TlsTrust
from dataplane.credentials import Credentials, NoKeyError, make_key, remember_roots
from dataplane.net.dial import Dialer
from dataplane.net.tls import TlsContexts
from dataplane.settings import Mesh
from dataplane.xds import messages
from dataplane.xds.channel import CallListener, Channel, GrpcCall
from meshapi import names, xds
from meshapi.records import record

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
CHECK_SECONDS = 20.0
"""Between two questions whether the control plane is still there; a dead one is noticed after two."""
BACKOFF = (0.2, 4.0)
"""First and longest wait before another try, seconds, half of it more or less by chance. The longest is shorter than an ending pod waits for its callers: one that rolls
as soon as the control plane is back must not be gone before they can have heard of its successor."""
_UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""OpenSSL's word in the reason of a lost connection."""
_CALM = 1.0
"""Seconds after its first answer from which on the end of a connection is no sign of trouble with us: replicas come and go, each end would else make the next wait longer,
and who waits does not hear of pods that go. Sooner it may be that very answer which ended it."""


class ControlPlaneError(RuntimeError):
    """The control plane cannot be reached or said no; the message says which and why."""


class Session(Protocol):
    """The sans-io ADS session (`xds.session`)."""

    def connected(self) -> list[bytes]:
        """Begin on a new stream; returns what to send."""

    def receive(self, raw: bytes) -> list[bytes]:
        """Take a response; returns the answer to it."""

    def pending(self) -> list[bytes]:
        """Return subscription changes to send since the last call."""

    questions: list[tuple[str, str]]
    """What was asked and not taken up yet."""


@record(frozen=False, kw_only=False)
class _Future(CallListener):
    """A unary call's answer, awaited."""

    done: asyncio.Future[bytes]

    def message(self, data: bytes) -> None:
        if not self.done.done():
            self.done.set_result(data)

    def finished(self, status: int, words: str) -> None:
        if not self.done.done():
            self.done.set_exception(ControlPlaneError(f"gRPC status {status}: {words}"))


class _Stream(CallListener):
    """The ADS stream."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.take = take
        self.over = asyncio.get_running_loop().create_future()

    def message(self, data: bytes) -> None:
        self.take(data)

    def finished(self, status: int, words: str) -> None:
        if not self.over.done():
            self.over.set_result(f"gRPC status {status}{': ' if words else ''}{words}")


class ControlPlane:
    """Keeps the sidecar connected; `run` ends only when it is cancelled."""

    def __init__(self, mesh: Mesh, credentials: Credentials, session: Session, dialer: Dialer) -> None:
        self._mesh = mesh
        self._credentials = credentials
        self._session = session
        self._dialer = dialer
        self._tls = TlsContexts(credentials)
        self._channel: Channel | None = None
        self._stream: Callable[[bytes], None] | None = None
        self._said = ""
        self._answered = 0.0
        """When this connection was first answered, by the monotonic clock."""
        self.connected = False
        self.on_update: Callable[[], None] = lambda: None
        self.on_connection: Callable[[bool], None] = lambda _: None
        self.on_question: Callable[[str, str], None] = lambda _, __: None

    @property
    def problem(self) -> str:
        """Why there is no connection; empty when there is one, or none was tried yet."""
        return "" if self.connected else self._said

    @property
    def untrusted(self) -> bool:
        """Whether that is because its certificate is under no root this sidecar trusts: then no waiting helps, the pod must be made anew."""
        return _UNTRUSTED in self.problem

    async def run(self) -> None:
        """Connect, stay connected, connect again."""
        wait, longest = BACKOFF
        while True:
            why = "the connection ended"
            try:
                why = await self._once()
            except (ControlPlaneError, NoKeyError, OSError, ValueError) as problem:
                why = str(problem)
            except Exception:  # a defect here costs this connection; traffic goes on by what is in force
                log.exception("a defect ended the connection to the control plane")
                why = "a defect ended it"
            finally:
                calm = self.connected and time.monotonic() - self._answered >= _CALM
                self._hang_up()
            if calm:
                wait = BACKOFF[0]
            self._log_once(why)
            await asyncio.sleep(wait * (0.5 + dice()))  # spreads load
            wait = min(wait * 2, longest)

    def flush(self) -> None:
        """Send what the session wants to say (subscriptions made since)."""
        if self._stream is not None:
            for message in self._session.pending():
                self._stream(message)

    async def _once(self) -> str:
        """Go through one connection's life; return why it ended."""
        lost = asyncio.get_running_loop().create_future()
        channel = self._channel = await self._connect(lost)
        if not self._credentials.ready or self._renewal_due():
            await self._renew(channel)
        listener = _Stream(self.take)
        call = channel.call(xds.ADS_DELTA, self._metadata(), listener)
        self.begin(call.send)
        upkeep = [asyncio.ensure_future(self._keep_alive(channel)), asyncio.ensure_future(self._keep_fresh(channel))]
        try:
            await asyncio.wait([lost, listener.over, *upkeep], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in upkeep:
                task.cancel()
        for task in upkeep:
            if task.done():
                task.result()  # neither ends but by what it could not take
        return str(listener.over.result() if listener.over.done() else lost.result())

    async def _connect(self, lost: asyncio.Future[str]) -> Channel:
        """Dial each address of the control plane until one answers; raises ControlPlaneError."""
        mesh, loop = self._mesh, asyncio.get_running_loop()
        where = f"{mesh.xds_host}:{mesh.xds_port}"
        try:
            # As bytes where it can be: of a text the library would have its characters looked at, by tables that stay loaded.
            host = mesh.xds_host.encode() if mesh.xds_host.isascii() else mesh.xds_host
            found = await loop.getaddrinfo(host, mesh.xds_port, type=1)
        except OSError as problem:
            raise ControlPlaneError(f"{mesh.xds_host} cannot be resolved: {problem.strerror or problem}") from None
        why = "it has no address"
        for *_, address in found:
            opened = loop.create_future()

            def on_lost(reason: str, opened: asyncio.Future[str] = opened) -> None:
                for future in (opened, lost):
                    if not future.done():
                        future.set_result(reason)
                        return

            channel = Channel(where, lambda opened=opened: opened.done() or opened.set_result(""), on_lost)  # type: ignore[misc]
            noun = TlsContext(
                sni=mesh.xds_host,
                alpn=("h2",),
                trust=TlsTrust(roots=self._credentials.roots_pem, dns=(StringMatch(exact=mesh.xds_host),)),
            )
            tls = self._tls.client(noun)
            channel.attach(
                self._dialer.dial(str(address[0]), int(address[1]), channel, tls=tls, timeout=CONNECT_SECONDS)
            )
            why = await opened
            if not why:
                return channel
        raise ControlPlaneError(f"{where} cannot be reached: {why}")

    def begin(self, send: Callable[[bytes], None]) -> None:
        """A stream is open: from now on the control plane can be asked."""
        self._stream = send
        self.on_connection(True)
        for message in self._session.connected():
            send(message)

    def take(self, raw: bytes) -> None:
        """Take a response; the first one shows that the control plane takes us."""
        if not self.connected:
            self.connected = True
            self._answered = time.monotonic()
            log.info("connected to the control plane at %s:%d", self._mesh.xds_host, self._mesh.xds_port)
            self._said = ""
        replies = self._session.receive(raw)
        if self._stream is not None:
            for message in replies:
                self._stream(message)
        while self._session.questions:
            self.on_question(*self._session.questions.pop())
        self.on_update()
        self.flush()

    def answer(self, question: str, listener: CallListener) -> GrpcCall | None:
        """Begin the answer to a question; None where there is nobody to answer any more."""
        if self._channel is None:
            return None
        try:
            metadata = self._metadata()
        except ControlPlaneError as problem:
            log.warning("a question of the control plane cannot be answered: %s", problem)
            return None
        return self._channel.call(xds.ANSWER, [*metadata, (xds.ANSWER_TO, question)], listener)

    def end(self) -> None:
        """The stream is over, or there will be none: nobody can be asked."""
        self.connected = False
        self._stream = None
        self.on_connection(False)

    def _hang_up(self) -> None:
        channel, self._channel = self._channel, None
        self.end()
        if channel is not None:
            channel.close()

    def _log_once(self, why: str) -> None:
        """Say why there is no connection, but the same reason only once in a row."""
        if why != self._said:
            self._said = why
            log.warning("%s%s", names.NOT_CONNECTED, why)

    async def _keep_alive(self, channel: Channel) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            channel.check()

    async def _keep_fresh(self, channel: Channel) -> None:
        """Renew the certificate at half its life; a failure is tried again, long before the end."""
        while True:
            await asyncio.sleep(self._credentials.renew_in(time.monotonic(), dice()))  # spreads load
            try:
                await self._renew(channel)
            except (ControlPlaneError, NoKeyError, ValueError) as problem:
                log.warning("the certificate could not be renewed, trying again: %s", problem)
                pause = min(BACKOFF[1], self._credentials.patience / 4)
                await asyncio.sleep(pause * (0.5 + dice()))  # spreads load

    def _renewal_due(self) -> bool:
        """Whether a new stream begins with a renewal: also where the certificate is over by the wall clock, as after the node slept."""
        return self._credentials.renew_in(time.monotonic(), 0.0) == 0 or self._credentials.over(time.time())

    async def _renew(self, channel: Channel) -> None:
        """Make a key, have it certified, and show the new certificate from then on."""
        made = await make_key(str(self._mesh.identity))
        request = messages.message("tulle.ca.v1.CertificateRequest")(csr=made.csr, pod=self._mesh.pod)
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        call = channel.call(xds.CA_ISSUE, self._metadata(), _Future(done))
        call.send(request.SerializeToString(), last=True)
        try:
            raw = await asyncio.wait_for(done, self._credentials.patience)
        except TimeoutError:
            call.cancel()
            raise ControlPlaneError(f"no certificate came in {self._credentials.patience:.0f} s") from None
        try:
            answer = messages.message("tulle.ca.v1.CertificateChain").FromString(raw)
        except DecodeError:
            raise ControlPlaneError("what came for a certificate is none") from None
        self._credentials.install(made.key, answer.chain.encode(), time.monotonic())
        self.trust(answer.roots.encode())
        assert self._credentials.validity is not None  # noqa: S101 - `install` read it
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._credentials.validity.ends))
        log.info("certificate of %s until %s", self._mesh.identity, ends)

    def trust(self, roots: bytes) -> None:
        """Believe these roots and remember them for this pod's next container."""
        if self._credentials.trust(roots):
            remember_roots(self._mesh.state_dir, roots)

    def _metadata(self) -> list[tuple[str, str]]:
        """Show the pod's token; the kubelet renews the file, so it is read each time."""
        try:
            token = self._mesh.token_path.read_text().strip()
        except OSError as problem:
            raise ControlPlaneError(
                f"the pod's token {self._mesh.token_path} cannot be read: {problem.strerror}"
            ) from None
        return [("authorization", f"Bearer {token}")]
