"""Roots of a running control plane: changed in stages, lent by others, found again after a reinstall."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from controlplane.bounds import Bound, Budgets
from controlplane.ca.issuer import from_secret, new_root, pem
from controlplane.ca.rootchange import CLOCKS_DIFFER, Stage
from meshapi import xds
from meshapi.xds import Type
from tests.controlplane.test_app_run import LOCAL, Running, running, shop
from tests.support import meshobjects as mo
from tests.support.adsserver import DeltaClient
from tests.support.certs import Authority
from tests.support.kubeserver import KubeServer, kube_server
from tests.support.ports import free_ports
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr("controlplane.ca.changing.EVERY_SECONDS", 0.05)
    monkeypatch.setattr("controlplane.replicas.EVERY_SECONDS", 0.05)


@pytest.fixture
async def kube() -> AsyncIterator[KubeServer]:
    """A cluster with the shop."""
    async with kube_server() as kube:
        shop(kube)
        yield kube


@asynccontextmanager
async def with_a_sidecar(kube: KubeServer) -> AsyncIterator[Running]:
    """A control plane that keeps the issuer it uses, and a pod with a sidecar that is not connected."""
    kube.put(injected("web-1", "10.0.0.1"))
    async with running(kube) as mesh:
        await settled(mesh)
        yield mesh


def injected(name: str, ip: str, made: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    """A pod with a sidecar."""
    pod = mo.pod(name, ip, creationTimestamp=made)
    pod["spec"]["initContainers"] = [{"name": "tulle-proxy"}]
    return pod


def replica(name: str, ip: str) -> dict[str, Any]:
    """A pod of the control plane."""
    return mo.pod(name, ip, namespace="tulle-system", mesh=False, labels={"app.kubernetes.io/name": "tulle"})


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def another_root() -> str:
    """A root of others, PEM."""
    return base64.b64decode(new_root("cluster.local", now=now())["ca.crt"]).decode()


def plain_root() -> dict[str, str]:
    """A root that says it is one and nothing else, as Secret data."""
    made = Authority()
    held = (("tls.crt", made.roots), ("tls.key", made.key), ("ca.crt", made.roots))
    return {name: base64.b64encode(value).decode() for name, value in held}


_default_context = ssl.create_default_context


def strict(*args: Any, **more: Any) -> ssl.SSLContext:
    """What Python 3.13 and later gives."""
    context = _default_context(*args, **more)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def bring(kube: KubeServer, name: str = "tulle-ca", data: dict[str, str] | None = None) -> str:
    """Put another issuer into the Secret; returns its root, PEM."""
    data = data or new_root("cluster.local", now=now())
    kube.put({"kind": "Secret", "metadata": {"name": name, "namespace": "tulle-system"}, "data": data})
    return pem(from_secret(data, now=now()).roots)


def lend(kube: KubeServer, **data: str) -> None:
    kube.put({"kind": "ConfigMap", "metadata": {"name": "lent", "namespace": "tulle-system"}, "data": data})


def signing(mesh: Running) -> str:
    issuer = mesh.app.trust.issuer
    assert issuer is not None
    return pem(issuer.roots)


def remembered(kube: KubeServer) -> str:
    return str((kube.get("configmaps", "tulle-system", "tulle-trust") or {"data": {}})["data"].get("roots", ""))


async def stage(mesh: Running, wanted: Stage) -> None:
    await until(lambda: mesh.app.trust.record.stage is wanted, 10)


async def waiting(mesh: Running) -> list[str]:
    found: list[str] = json.loads((await mesh.admin("/snapshot"))[1])["authority"]["root_change"]["waiting"]
    return found


async def settled(mesh: Running) -> None:
    """The issuer in use is kept."""
    await until(lambda: mesh.app.trust.kept is not None)


async def test_another_root_signs_when_every_sidecar_has_acknowledged_it_and_the_old_one_goes_a_life_later(
    kube: KubeServer,
) -> None:
    """Trust everywhere, sign, outlive, drop; each as soon as it may and not before."""
    async with with_a_sidecar(kube) as mesh, mesh.channel() as channel:
        old = signing(mesh)
        client = DeltaClient(channel)
        await client.ask(Type.SECRET, xds.TRUST_BUNDLE)
        new = bring(kube)
        pushed = await client.receive()
        await stage(mesh, Stage.TRUST)
        assert new in str(pushed.resources[0].resource.value.decode("latin-1"))
        assert await waiting(mesh) == ["pod shop/web-1"]
        assert signing(mesh) == old
        await client.send(pushed.type_url, response_nonce=pushed.nonce)
        await stage(mesh, Stage.OUTLIVE)
        assert signing(mesh) == new
        assert remembered(kube) == old + new
        later = now() + dt.timedelta(seconds=LOCAL.certificate_seconds + 301)
        mesh.app.trust.now = lambda: later
        await stage(mesh, Stage.STEADY)
        assert remembered(kube) == mesh.app.trust.roots_pem == new


async def test_pod_that_is_not_connected_holds_up_a_change_until_it_is_gone(kube: KubeServer) -> None:
    """It could never connect again. One that is made well after has the new root in its spec and holds up nothing."""
    async with with_a_sidecar(kube) as mesh:
        old = signing(mesh)
        new = bring(kube)
        await stage(mesh, Stage.TRUST)
        young = (now() + dt.timedelta(seconds=CLOCKS_DIFFER + 60)).isoformat()
        kube.put(injected("young-1", "10.0.0.9", young))
        await until(lambda: mesh.app.store.get("Pod", "shop", "young-1"))
        assert (await waiting(mesh), signing(mesh)) == (["pod shop/web-1"], old)
        kube.delete("pods", "shop", "web-1")
        await stage(mesh, Stage.OUTLIVE)
        assert signing(mesh) == new


async def test_replica_that_starts_in_the_middle_of_a_change_goes_on_with_it(kube: KubeServer) -> None:
    """The issuer in use is kept beside the one that was brought, else the old key would be gone with the memory of the last replica."""
    async with with_a_sidecar(kube) as mesh:
        old = signing(mesh)
        bring(kube)
        await stage(mesh, Stage.TRUST)
    async with running(kube, replace(LOCAL, pod="tulle-2")) as mesh:
        assert signing(mesh) == old
        assert mesh.app.trust.record.stage is Stage.TRUST
        kube.delete("pods", "shop", "web-1")
        await stage(mesh, Stage.OUTLIVE)
        assert signing(mesh) != old


async def test_root_that_is_taken_back_never_signs(kube: KubeServer) -> None:
    """Somebody brought the wrong Secret and puts the old one back before the change has gone through."""
    async with with_a_sidecar(kube) as mesh:
        before = kube.get("secrets", "tulle-system", "tulle-ca") or {}
        old = signing(mesh)
        bring(kube)
        await stage(mesh, Stage.TRUST)
        kube.put(before)
        await stage(mesh, Stage.OUTLIVE)
        assert signing(mesh) == old


@pytest.mark.parametrize("made", ["by Tulle", "by others"])
async def test_another_replica_must_trust_and_sign_too(
    kube: KubeServer, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader hears each of them at its own address; one that is not heard holds the change up.

    A root without key usage, as `openssl req -x509` makes it, is what sidecars take; a context of Python 3.13 or later would not.
    """
    monkeypatch.setattr("ssl.create_default_context", strict)
    (port,) = free_ports(1)
    both = {"webhook_port": port}
    if made == "by others":
        bring(kube, data=plain_root())
    for name, ip in (("tulle", "127.0.0.1"), ("tulle-2", "127.0.0.2"), ("tulle-3", "127.0.0.3")):
        kube.put(replica(name, ip))
    second = replace(LOCAL, pod="tulle-2", host="127.0.0.2", **both)
    async with running(kube, replace(LOCAL, **both)) as one, running(kube, second) as two:
        await settled(one)
        bring(kube)
        await stage(one, Stage.ANNOUNCE)
        await until(lambda: one.app.root_change.waiting() == ["replica tulle-3"])
        kube.delete("pods", "tulle-system", "tulle-3")
        await stage(one, Stage.OUTLIVE)
        assert signing(one) == signing(two)


async def test_issuer_is_found_again_when_its_secret_is_gone(kube: KubeServer) -> None:
    """A new root would strand every sidecar there is; the issuer in use is put back."""
    async with running(kube) as mesh:
        await settled(mesh)
        old = signing(mesh)
        kube.delete("secrets", "tulle-system", "tulle-ca")
        await until(lambda: kube.get("secrets", "tulle-system", "tulle-ca"))
        assert mesh.app.trust.refused == ""
    kube.delete("secrets", "tulle-system", "tulle-ca")
    async with running(kube, replace(LOCAL, pod="tulle-2")) as mesh:
        await until(lambda: kube.get("secrets", "tulle-system", "tulle-ca"))
        assert signing(mesh) == old


async def test_issuer_in_use_that_is_removed_lets_the_one_that_was_brought_sign_at_once(kube: KubeServer) -> None:
    """For a hurry: who revokes an issuer does not wait for anybody."""
    async with with_a_sidecar(kube) as mesh:
        new = bring(kube)
        await stage(mesh, Stage.TRUST)
        kube.delete("secrets", "tulle-system", "tulle-signing")
        await until(lambda: signing(mesh) == new)
        await until(lambda: kube.get("secrets", "tulle-system", "tulle-signing"))


async def test_roots_others_lend_are_trusted_while_they_are_lent_and_not_remembered(
    kube: KubeServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """cert-manager owns the Secret, so further roots need a place of their own."""
    lent = another_root()
    lend(kube, **{"bundle.pem": f"# of the other cluster\n{lent}"})
    async with running(kube, replace(LOCAL, ca_roots_config_map="lent")) as mesh:
        await settled(mesh)
        own = signing(mesh)
        assert mesh.app.trust.roots_pem == own + lent
        assert remembered(kube) == own
        lend(kube, note="nothing here")
        await until(lambda: mesh.app.trust.roots_refused)
        assert mesh.app.trust.roots_pem == own + lent
        words = (
            "ConfigMap tulle-system/lent cannot be used: it holds no certificate; put roots there, PEM, under any key"
        )
        assert words in caplog.text
        other = another_root()
        lend(kube, a=other)
        await until(lambda: mesh.app.trust.roots_pem == own + other)
        assert (await _authority(mesh))["roots_refused"] is None


async def test_replica_that_is_lent_roots_comes_up_beside_a_leader_that_is_not(kube: KubeServer) -> None:
    """`ca.rootsConfigMap` is set by an upgrade, and the leader is the last to go: it trusts less, and writes no bundle that says more."""
    lent = another_root()
    lend(kube, a=lent)
    second = replace(LOCAL, pod="tulle-2", ca_roots_config_map="lent")
    async with running(kube) as old, running(kube, second) as new:
        assert new.app.trust.roots_pem == old.app.trust.roots_pem + lent
        assert not new.app.missing()


async def _authority(mesh: Running) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await mesh.admin("/snapshot"))[1])["authority"]
    return found


async def test_replica_says_nothing_to_who_is_not_one(kube: KubeServer) -> None:
    """There is nothing secret in a statement; it is served by the mesh's own certificate, which is how replicas know it."""
    async with running(kube) as mesh:
        reader, writer = await asyncio.open_connection("127.0.0.1", mesh.app.ports["webhook"])
        writer.write(b"GET /replica HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"trusts" not in await reader.read(1000)
        writer.close()


async def test_who_asks_a_replica_too_often_is_told_so_and_others_are_answered_as_before(kube: KubeServer) -> None:
    """Each answer is made anew, with what workloads use: whoever reaches the port could keep the loop at it."""
    async with running(kube) as mesh:
        url = f"https://127.0.0.1:{mesh.app.ports['webhook']}/replica"
        trusting = ssl.create_default_context(cadata=mesh.app.trust.roots_pem)
        answers, name = [], "tulle.tulle-system.svc"
        mesh.app.telling.budgets = Budgets("statements", Bound(pod=2, node=2), pod_seconds=3600.0, node_seconds=3600.0)
        async with aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.get(url, ssl=trusting, server_hostname=name) as answer:
                    answers.append((answer.status, await answer.text()))
        assert [status for status, _ in answers] == [200, 200, 429]
        sentence = "node at 127.0.0.1 may ask for 2 statements at once and one each 3600 s; try again\n"
        assert answers[-1][1] == sentence
        assert b"trusts" in mesh.app.telling.answer("127.0.0.2", {})
        metrics = (await mesh.admin("/metrics"))[1]
        assert 'tulle_bound_refusals_total{bound="statements"} 1' in metrics


@pytest.mark.parametrize("since", ["9" * 5000, "-1", "odd", ""])
async def test_revision_that_is_none_is_answered_like_any(kube: KubeServer, since: str) -> None:
    """Whoever reaches the port of the webhooks may ask; a number no one can read was a trace in the log each time."""
    async with running(kube) as mesh:
        url = f"https://127.0.0.1:{mesh.app.ports['webhook']}/replica"
        query = {"instance": mesh.app.telling.instance, "since": since}
        trusting = ssl.create_default_context(cadata=mesh.app.trust.roots_pem)
        name = "tulle.tulle-system.svc"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, params=query, ssl=trusting, server_hostname=name) as answer,
        ):
            assert (answer.status, (await answer.json())["pod"]) == (200, "tulle")


async def test_pod_that_comes_to_another_replica_is_hinted_at_what_its_workload_uses(kube: KubeServer) -> None:
    """Three pods of a workload are on three replicas; its next one begins as warm on any."""
    (port,) = free_ports(1)
    use = "outbound/10.96.0.2:80"
    for name, ip in (("tulle", "127.0.0.1"), ("tulle-2", "127.0.0.2")):
        kube.put(replica(name, ip))
    owner = {"ownerReferences": [{"kind": "StatefulSet", "name": "web", "controller": True}]}
    for name, ip in (("web-1", "10.0.0.1"), ("web-2", "10.0.0.21")):
        kube.put(mo.pod(name, ip, **owner))
    second = replace(LOCAL, pod="tulle-2", host="127.0.0.2", webhook_port=port)
    first = replace(LOCAL, webhook_port=port)
    async with running(kube, first) as one, running(kube, second) as two, one.channel() as channel:
        await DeltaClient(channel).ask(Type.LISTENER, use)
        await until(lambda: two.app.source.warm.of(("shop", "StatefulSet/web")) == [use])
        assert one.app.source.warm.of(("shop", "StatefulSet/web")) == [use]
