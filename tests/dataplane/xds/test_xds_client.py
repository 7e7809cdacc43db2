"""The sidecar's certificate over time: how often it is renewed, in virtual time, whatever the node's clock says."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from controlplane.ca.authority import sign
from controlplane.ca.issuer import from_secret, new_root
from dataplane.credentials import Credentials, KeyRequest
from dataplane.keymaker import make
from dataplane.settings import Mesh
from dataplane.xds import client
from dataplane.xds.client import BACKOFF, ControlPlane, ControlPlaneError
from meshapi import protos, xds
from meshapi.identity import Identity
from tests.support.settings import in_mesh
from tests.support.virtual import VirtualLoop, virtual_time

WEB = Identity(trust_domain="cluster.local", namespace="shop", account="web")
BEGUN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
HELPER_SECONDS = 2.0
"""What a busy node needs for a key."""


class Authority:
    """A control plane whose clock is right, as the channel of a sidecar."""

    def __init__(self, loop: VirtualLoop, seconds: int) -> None:
        self._loop = loop
        self._seconds = seconds
        self._issuer = from_secret(new_root("cluster.local", now=BEGUN), now=BEGUN)
        self.issued: list[float] = []

    def call(self, _path: str, _metadata: object, listener: Any) -> Any:
        def send(raw: bytes, *, last: bool) -> None:
            assert last
            now = BEGUN + dt.timedelta(seconds=self._loop.now)
            csr = protos.message("tulle.ca.v1.CertificateRequest").FromString(raw).csr
            chain = sign(self._issuer, csr, WEB, now=now, seconds=self._seconds).chain
            self.issued.append(self._loop.now)
            listener.message(protos.message("tulle.ca.v1.CertificateChain")(chain=chain, roots="r").SerializeToString())

        return SimpleNamespace(send=send, cancel=lambda: None)


def mesh_of(directory: Path) -> Mesh:
    token = directory / "token"
    token.write_text("t")
    return in_mesh(directory, identity=WEB, token_path=token)


def renewals(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, life: int, seconds: float, wall: Callable[[float], float]
) -> list[float]:
    """Run a sidecar's renewals for some seconds; `wall` is the node's clock, off by how much at which second. Gives when it asked."""
    with virtual_time() as loop:
        authority = Authority(loop, life)
        clock = SimpleNamespace(
            time=lambda: BEGUN.timestamp() + loop.now + wall(loop.now - 1000),
            monotonic=lambda: loop.now,
            strftime=lambda *_: "",
            gmtime=lambda _: None,
        )
        monkeypatch.setattr(client, "time", clock)
        key, csr = make(str(WEB))
        request = base64.b64decode(csr.partition(b"-----BEGIN CERTIFICATE REQUEST-----")[2].partition(b"-----END")[0])

        async def make_key(_: str) -> KeyRequest:
            await asyncio.sleep(HELPER_SECONDS)
            return KeyRequest(key=key, csr=request)

        monkeypatch.setattr(client, "make_key", make_key)
        mesh = mesh_of(directory)

        async def live() -> None:
            control = ControlPlane(mesh, Credentials(roots_pem=b""), cast("Any", None), cast("Any", None))
            await control._renew(cast("Any", authority))
            upkeep = asyncio.ensure_future(control._keep_fresh(cast("Any", authority)))
            await asyncio.sleep(seconds)
            upkeep.cancel()
            await asyncio.wait([upkeep])

        loop.run_until_complete(live())
    return [when - authority.issued[0] for when in authority.issued[1:]]


@pytest.mark.parametrize("life", [20, 60, 300, 450, 3600])
def test_certificate_of_any_life_is_renewed_at_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, life: int
) -> None:
    """That its validity begins five minutes before its issue is no part of its life."""
    asked = renewals(tmp_path, monkeypatch, life=life, seconds=life * 5, wall=lambda _: 0.0)
    pauses = [later - sooner for sooner, later in zip([0.0, *asked], asked, strict=False)]

    assert len(asked) >= 8
    assert all(life * 0.4 <= pause <= life * 0.5 + HELPER_SECONDS for pause in pauses), pauses


@pytest.mark.parametrize("step", [86400.0, -86400.0, 40.0], ids=["a day ahead", "a day back", "40 s ahead"])
def test_step_of_the_nodes_clock_renews_nothing_and_delays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """Renewal counts from receipt: what the wall clock says then and later is not asked."""
    asked = renewals(tmp_path, monkeypatch, life=60, seconds=600, wall=lambda now: step if now > 100 else 0.0)
    pauses = [later - sooner for sooner, later in zip([0.0, *asked], asked, strict=False)]

    assert all(60 * 0.4 <= pause <= 60 * 0.5 + HELPER_SECONDS for pause in pauses), pauses


def test_issuer_that_is_nearly_over_is_not_asked_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leaf never outlives its issuer, so the last ones live for moments only."""
    asked = renewals(tmp_path, monkeypatch, life=1, seconds=100, wall=lambda _: 0.0)

    assert len(asked) <= 100 / (HELPER_SECONDS + 5) + 1


class Line:
    """A channel to a control plane that says what it is given for each call."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self._answers = answers

    def call(self, path: str, _metadata: object, listener: Any) -> Any:
        def send(_: bytes, *, last: bool = False) -> None:
            if path in self._answers:
                listener.message(self._answers[path])

        return SimpleNamespace(send=send, cancel=lambda: None)

    def close(self) -> None:
        """Nothing hangs on it."""


@pytest.mark.parametrize("renewal", [RuntimeError("a defect"), OSError(11, "Resource temporarily unavailable")])
def test_renewal_that_breaks_costs_the_connection_and_not_the_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renewal: Exception
) -> None:
    """Whatever goes wrong beside a stream, the sidecar serves on and connects anew."""
    with virtual_time() as loop:
        session = SimpleNamespace(connected=list, pending=list)
        control = ControlPlane(mesh_of(tmp_path), Credentials(roots_pem=b""), cast("Any", session), cast("Any", None))
        connections: list[float] = []

        async def connect(_: object) -> Line:
            connections.append(loop.now)
            return Line({})

        async def renew(_: object) -> None:
            if control._stream is not None:
                raise renewal
            control._credentials.certificate_pem = b"c"

        monkeypatch.setattr(control, "_connect", connect)
        monkeypatch.setattr(control, "_renew", renew)

        async def live() -> None:
            running = asyncio.ensure_future(control.run())
            await asyncio.sleep(60)
            assert not running.done()
            running.cancel()
            await asyncio.wait([running])

        loop.run_until_complete(live())
    assert len(connections) > 2


async def test_certificate_that_is_none_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of another kind in the answer are a sentence, as every other failure of the control plane is."""

    async def make_key(_: str) -> KeyRequest:
        return KeyRequest(key=b"k", csr=b"c")

    monkeypatch.setattr(client, "make_key", make_key)
    control = ControlPlane(mesh_of(tmp_path), Credentials(roots_pem=b""), cast("Any", None), cast("Any", None))
    with pytest.raises(ControlPlaneError, match="what came for a certificate is none"):
        await control._renew(cast("Any", Line({xds.CA_ISSUE: b"\xff\xff"})))


class Replica(Line):
    """A control plane that answers a stream and ends it some seconds later."""

    def __init__(self, loop: VirtualLoop, seconds: float) -> None:
        super().__init__({})
        self._loop = loop
        self._seconds = seconds

    def call(self, path: str, _metadata: object, listener: Any) -> Any:
        assert path == xds.ADS_DELTA
        self._loop.call_soon(listener.message, b"")
        self._loop.call_later(self._seconds, listener.finished, 0, "")
        return SimpleNamespace(send=lambda _: None, cancel=lambda: None)


@pytest.mark.parametrize(("held", "longest"), [(3.0, BACKOFF[0] * 1.5), (0.0, BACKOFF[1] * 1.5)])
def test_sidecar_comes_back_soon_to_a_control_plane_that_was_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: float, longest: float
) -> None:
    """Replicas that roll one after the other end its streams in their order: it must hear of pods that go meanwhile. One that ends each at its answer is asked seldom."""
    with virtual_time() as loop:
        monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=lambda: loop.now))
        session = SimpleNamespace(connected=list, pending=list, receive=lambda _: [])
        credentials = Credentials(roots_pem=b"", certificate_pem=b"c")
        control = ControlPlane(mesh_of(tmp_path), credentials, cast("Any", session), cast("Any", None))
        connections: list[float] = []

        async def connect(_: object) -> Replica:
            connections.append(loop.now)
            return Replica(loop, held)

        monkeypatch.setattr(control, "_connect", connect)
        monkeypatch.setattr(control, "_renewal_due", lambda: False)
        monkeypatch.setattr(control, "_keep_fresh", lambda _: asyncio.Event().wait())

        async def live() -> None:
            running = asyncio.ensure_future(control.run())
            await asyncio.sleep(60)
            running.cancel()
            await asyncio.wait([running])

        loop.run_until_complete(live())
    pauses = [later - sooner - held for sooner, later in itertools.pairwise(connections)]

    assert BACKOFF[0] / 2 <= min(pauses)
    assert longest / 3 <= max(pauses) <= longest + 0.01
