"""The whole control plane against an API in memory: it comes up in order, does its work with kopf, serves over TLS, and ends gracefully."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import yaml

from controlplane.app import App
from controlplane.ca.issuer import new_root
from controlplane.settings import Settings
from meshapi import protos
from meshapi.xds import Type
from tests.support import meshobjects as mo
from tests.support.adsserver import DeltaClient, names_of
from tests.support.kubeserver import TCP_ROUTE, KubeServer, kube_server
from tests.support.waiting import until

LOCAL = Settings(host="127.0.0.1", xds_port=0, admin_port=0, webhook_port=0, drain_seconds=0.2)
INJECT = {"tulle.dev/inject": "enabled"}
DEPLOYMENT = {
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop", "annotations": INJECT},
    "spec": {"template": {"metadata": {"labels": {"app": "web"}}}},
}
WEBHOOKS = {
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": "tulle"},
    "webhooks": [{"name": "a", "clientConfig": {"service": {"namespace": "tulle-system", "name": "tulle"}}}],
}


@dataclass(slots=True)
class Running:
    kube: KubeServer
    app: App
    stop: asyncio.Event

    async def admin(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.app.ports['admin']}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    def channel(self) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(self.app.trust.roots_pem.encode())
        name = (("grpc.ssl_target_name_override", "tulle.tulle-system.svc"),)
        return grpc.aio.secure_channel(f"127.0.0.1:{self.app.ports['xds']}", credentials, options=name)


@asynccontextmanager
async def running(kube: KubeServer, settings: Settings = LOCAL) -> AsyncIterator[Running]:
    app, stop = App(settings, kube.connection), asyncio.Event()
    task = asyncio.ensure_future(app.run(stop))
    try:
        await until(lambda: not app.missing() or task.done(), 15)
        yield Running(kube, app, stop)
    finally:
        stop.set()
        await task


def shop(kube: KubeServer) -> None:
    for obj in mo.shop().held.values():
        kube.put(obj)
    kube.put({"kind": "Namespace", "metadata": {"name": "shop"}})
    kube.put(DEPLOYMENT)
    kube.put(WEBHOOKS)
    kube.review = lambda token: {
        "authenticated": True,
        "audiences": ["tulle-ca"],
        "user": {
            "username": "system:serviceaccount:shop:web",
            "extra": {"authentication.kubernetes.io/pod-name": ["web-1"]},
        },
    }


async def test_control_plane_comes_up_serves_follows_kopf_and_ends() -> None:
    """One life: CA made, bundle written, a workload rolled, a route told, a sidecar served, streams closed, Lease back."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh, mesh.channel() as channel:
            assert (await mesh.admin("/readyz"))[0] == 200
            hook = (kube.get("mutatingwebhookconfigurations", "", "tulle") or {})["webhooks"][0]
            assert base64.b64decode(hook["clientConfig"]["caBundle"]).decode() == mesh.app.trust.roots_pem

            client = DeltaClient(channel)
            assert names_of(await client.ask(Type.SECRET, "trust")) == ["trust"]
            await client.ask(Type.ROUTES, "shop/web:80")
            template = lambda: (kube.get("deployments", "shop", "web") or {})["spec"]["template"]["metadata"]  # noqa: E731
            await until(lambda: template().get("annotations", {}).get("tulle.dev/injected-by") == "Deployment/web")

            kube.put(mo.route("all", {"backendRefs": [mo.to("api")]}))
            assert "shop/api:80" in str(await client.take())
            await until(lambda: (kube.get("httproutes", "shop", "all") or {}).get("status"))

            (proxy,) = json.loads((await mesh.admin("/proxies"))[1])["proxies"]
            assert (proxy["pod"], proxy["identity"]) == ("web-1", "spiffe://cluster.local/ns/shop/sa/web")
            assert proxy["resources"][Type.SECRET.url]["acked"] == proxy["resources"][Type.SECRET.url]["sent"] == 1
            metrics = (await mesh.admin("/metrics"))[1]
            assert 'tulle_xds_streams{transport="delta"} 1' in metrics
            assert "PRIVATE" not in metrics + (await mesh.admin("/snapshot"))[1]
            mesh.stop.set()
            assert (await client.ended())[0] is grpc.StatusCode.OK
        lease = kube.get("leases", "tulle-system", "tulle") or {}

    assert lease["spec"]["holderIdentity"] == ""


async def test_change_that_waits_for_its_acknowledgement_is_shown_with_its_age() -> None:
    """What was asked for is no change; and one that is acknowledged waits no more."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh, mesh.channel() as channel:
            client = DeltaClient(channel)
            await client.ask(Type.ROUTES, "shop/web:80")
            (stream,) = mesh.app.hub.streams
            assert not stream.waiting_since
            kube.put(mo.route("all", {"backendRefs": [mo.to("api")]}))
            pushed = await client.receive()
            (proxy,) = json.loads((await mesh.admin("/proxies"))[1])["proxies"]
            assert 0 < proxy["waiting_seconds"] < 10
            await client.send(pushed.type_url, response_nonce=pushed.nonce)
            await until(lambda: not stream.waiting_since)
            timing = json.loads((await mesh.admin("/snapshot"))[1])["timing"]
            assert (timing["acknowledged"], timing["acknowledged_late"]) == (1, 0)
            assert timing["watched_seconds"] > 0


async def test_second_replica_serves_the_same_issuer_and_does_not_write() -> None:
    """Every replica serves; one leads; roots are one."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as one, running(kube, replace(LOCAL, pod="tulle-2")) as two:
            assert one.app.trust.roots_pem == two.app.trust.roots_pem
            assert (one.app.elector.leading, two.app.elector.leading) == (True, False)
            async with two.channel() as channel:
                assert names_of(await DeltaClient(channel).ask(Type.SECRET, "trust")) == ["trust"]


async def test_replaced_issuer_reaches_everybody_with_overlap() -> None:
    """A user brings another issuer: sidecars are pushed both roots, the webhooks too, and they are remembered for replicas to come."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh, mesh.channel() as channel:
            client = DeltaClient(channel)
            await client.ask(Type.SECRET, "trust")
            old = kube.get("secrets", "tulle-system", "tulle-ca") or {}
            kube.put({**old, "kind": "Secret", "data": new_root("cluster.local", now=dt.datetime.now(dt.UTC))})
            pushed = protos.unpack((await client.take()).resources[0].resource)
            roots = pushed.validation_context.trusted_ca.inline_bytes.decode()
            await until(lambda: mesh.app.webhooks.carry([mesh.app.trust.roots_pem]))
            await until(lambda: _remembered(kube).count("BEGIN") == 2)

    assert roots.count("BEGIN") == 2


async def test_replica_with_another_issuer_comes_up_beside_the_leader() -> None:
    """The Secret's name was changed: the new replica has its root remembered, the leader writes it to the webhooks, both are ready."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as old:
            data = new_root("cluster.local", now=dt.datetime.now(dt.UTC))
            metadata = {"name": "brought", "namespace": "tulle-system"}
            kube.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
            changed = replace(LOCAL, pod="tulle-2", ca_secret="brought", ca_create=False)
            async with running(kube, changed) as new:
                await until(lambda: not new.app.missing() and not old.app.missing())
                assert new.app.trust.roots_pem == old.app.trust.roots_pem
                assert (old.app.elector.leading, new.app.elector.leading) == (True, False)


@pytest.mark.parametrize(
    "spoiled", [None, {}, {"roots": ""}, {"roots": "no PEM"}], ids=["gone", "bare", "empty", "bad"]
)
async def test_bundle_of_roots_that_somebody_spoiled_is_written_again(spoiled: dict[str, str] | None) -> None:
    """Former roots too: certificates under them may still be out, and replicas to come read them there."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh:
            former = new_root("cluster.local", now=dt.datetime.now(dt.UTC))["ca.crt"]
            both = mesh.app.trust.roots_pem + base64.b64decode(former).decode()
            held = {"kind": "ConfigMap", "metadata": {"name": "tulle-trust", "namespace": "tulle-system"}}
            kube.put(held | {"data": {"roots": both}})
            await until(lambda: mesh.app.trust.roots_pem == both)
            if spoiled is None:
                kube.delete("configmaps", "tulle-system", "tulle-trust")
            else:
                kube.put(held | {"data": spoiled})
            await until(lambda: _remembered(kube) == both)
            assert mesh.app.trust.roots_pem == both


async def test_root_that_is_used_no_more_is_dropped_by_hand_and_one_in_use_is_not() -> None:
    """The last step of changing roots is taking the old one out (docs/operations.md)."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh:
            own = mesh.app.trust.roots_pem
            former = base64.b64decode(new_root("cluster.local", now=dt.datetime.now(dt.UTC))["ca.crt"]).decode()
            held = {"kind": "ConfigMap", "metadata": {"name": "tulle-trust", "namespace": "tulle-system"}}
            kube.put(held | {"data": {"roots": own + former}})
            await until(lambda: mesh.app.trust.roots_pem == own + former)
            kube.put(held | {"data": {"roots": own}})
            await until(lambda: mesh.app.trust.roots_pem == own)
            kube.put(held | {"data": {"roots": former}})
            await until(lambda: _remembered(kube) == former + own)


def _remembered(kube: KubeServer) -> str:
    data = (kube.get("configmaps", "tulle-system", "tulle-trust") or {}).get("data") or {}
    return str(data.get("roots", ""))


async def test_webhook_answers_with_a_certificate_of_the_mesh() -> None:
    """The API server checks it against the bundle that was written."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh:
            bad = mo.peer_authentication("bad", "SOMETIMES")
            said = await _reviewed(mesh, "/validate", "PeerAuthentication", bad)

    assert not said["allowed"]
    assert "SOMETIMES" in said["status"]["message"]


@pytest.mark.parametrize("path", ["/inject", "/inject/namespace"])
async def test_first_pod_of_a_new_namespace_is_injected_though_the_feed_is_behind(path: str) -> None:
    """Namespace and Deployment come in one `kubectl apply`, and the watch of namespaces is late."""
    bare = {"metadata": {"name": "first"}, "spec": {"containers": [{"name": "app"}]}}
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh:
            # Without an event, so that the feed stays behind.
            kube.objects["namespaces", "", "new"] = {
                "kind": "Namespace",
                "metadata": {"name": "new", "annotations": INJECT},
            }
            said = await _reviewed(mesh, path, "Pod", bare, namespace="new")

    assert "tulle-proxy" in base64.b64decode(said["patch"]).decode()


async def test_lease_is_renewed_and_pods_are_admitted_though_all_other_connections_are_taken() -> None:
    """Reads that hang hold up a pool of connections; the term must not end by them, nor a pod wait for its namespace."""
    bare = {"metadata": {"name": "first"}, "spec": {"containers": [{"name": "app"}]}}
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh:
            await until(lambda: mesh.app.elector.leading)
            kube.slow.add("/api/v1/stuck")
            stuck = [asyncio.ensure_future(mesh.app.cluster.get("/api/v1/stuck")) for _ in range(150)]
            before = ((kube.get("leases", "tulle-system", "tulle") or {})["spec"])["renewTime"]
            await until(lambda: (kube.get("leases", "tulle-system", "tulle") or {})["spec"]["renewTime"] != before, 6)
            # Without an event, so that its namespace has to be asked for.
            kube.objects["namespaces", "", "new"] = {
                "kind": "Namespace",
                "metadata": {"name": "new", "annotations": INJECT},
            }
            async with asyncio.timeout(5):
                said = await _reviewed(mesh, "/inject", "Pod", bare, namespace="new")
            assert "patch" in said
            for one in stuck:
                one.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)


@pytest.mark.parametrize(
    ("kubelets", "native"),
    [
        ([], True),
        (["v1.31.2+k3s1", "v1.29.0-gke.100"], True),
        (["v1.31.2", "v1.28.15"], False),
        (["v2.0.0"], True),
        (["strange"], False),
    ],
)
async def test_sidecar_is_native_when_every_kubelet_knows_native_sidecars(kubelets: list[str], native: bool) -> None:
    """A kubelet may be three versions older than the API server; an old one would wait for the sidecar to end."""
    bare = {"metadata": {"name": "first", "annotations": INJECT}, "spec": {"containers": [{"name": "app"}]}}
    async with kube_server() as kube:
        shop(kube)
        for number, version in enumerate(kubelets):
            node = {"kind": "Node", "metadata": {"name": f"old-{number}"}, "spec": {}}
            kube.put(node | {"status": {"nodeInfo": {"kubeletVersion": version}}})
        async with running(kube) as mesh:
            said = await _reviewed(mesh, "/inject", "Pod", bare)

    assert ('"restartPolicy": "Always"' in base64.b64decode(said["patch"]).decode()) is native


async def _reviewed(mesh: Running, path: str, kind: str, obj: dict[str, Any], namespace: str = "shop") -> Any:
    """Ask as the API server would."""
    context = ssl.create_default_context(cadata=mesh.app.trust.roots_pem)
    review = {"request": {"uid": "u", "namespace": namespace, "kind": {"kind": kind}, "object": obj}}
    url = f"https://127.0.0.1:{mesh.app.ports['webhook']}{path}"
    async with aiohttp.ClientSession() as session:
        request = session.post(url, json=review, ssl=context, server_hostname="tulle.tulle-system.svc")
        async with request as answer:
            return (await answer.json())["response"]


async def test_version_nobody_may_read_is_told_of_and_sidecars_are_plain_containers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Some clusters take `system:discovery` from service accounts: a mesh that waits for it would never start."""
    async with kube_server() as kube:
        shop(kube)
        kube.failing["GET", "/version"] = 403
        async with running(kube) as mesh:
            assert not mesh.app.missing()
            assert not mesh.app._native_sidecar({})
            assert (
                "may not read /version, so sidecars are plain containers; grant system:discovery, or set" in caplog.text
            )


async def test_routes_are_known_before_anything_is_served() -> None:
    """A replica that has just started never serves without the routes and policies that are there."""
    async with kube_server() as kube:
        shop(kube)
        kube.put(mo.route("all", {"backendRefs": [mo.to("api")]}))
        async with running(kube) as mesh, mesh.channel() as channel:
            answer = await DeltaClient(channel).ask(Type.ROUTES, "shop/web:80")

    assert "shop/api:80" in str(answer)


async def test_kind_that_is_installed_later_is_picked_up() -> None:
    """Gateway API may come after Tulle."""
    async with kube_server() as kube:
        shop(kube)
        kind = next(kind for kind in kube.kinds.values() if kind.plural == "httproutes")
        kube.undefine("httproutes")
        async with running(kube) as mesh:
            kube.define(kind, "v1")
            kube.put(mo.route("all", {"backendRefs": [mo.to("api")]}))
            await until(lambda: list(mesh.app.store.of("HTTPRoute")), 10)


async def test_route_of_a_kind_that_is_served_in_an_old_version_only_is_followed_and_told_there() -> None:
    """And anew in the newest one when the definition changes."""
    async with kube_server() as kube:
        shop(kube)
        kube.define(TCP_ROUTE, "v1alpha2")
        kube.put(mo.route("old", {"backendRefs": [mo.to("api")]}, kind="TCPRoute"))
        path = "/apis/gateway.networking.k8s.io/{}/namespaces/shop/tcproutes/{}/status"
        async with running(kube) as mesh:
            await until(lambda: (kube.get("tcproutes", "shop", "old") or {}).get("status"))
            assert ("PATCH", path.format("v1alpha2", "old")) in kube.requests
            kube.define(TCP_ROUTE, "v1")
            await until(lambda: mesh.app.feed.api("TCPRoute").endswith("/v1"))
            kube.put(mo.route("new", {"backendRefs": [mo.to("api")]}, kind="TCPRoute"))
            await until(lambda: ("PATCH", path.format("v1", "new")) in kube.requests)


async def test_kind_that_breaks_is_said_and_leaves_the_others_working(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its metric grows old, `/snapshot` has the reason, readiness holds, and other kinds are followed."""
    monkeypatch.setattr("controlplane.feed.health.PATIENCE_SECONDS", 0.1)
    async with kube_server() as kube:
        shop(kube)
        kube.failing["GET", "/apis/gateway.networking.k8s.io/v1/httproutes"] = 500
        async with running(kube) as mesh:
            assert (await mesh.admin("/readyz"))[0] == 200
            told = json.loads((await mesh.admin("/snapshot"))[1])["feed"]
            assert {kind for kind, one in told.items() if one["error"]} == {"HTTPRoute"}
            assert told["HTTPRoute"]["error"] == "told to fail"
            assert 'tulle_feed_age_seconds{kind="HTTPRoute"}' in (await mesh.admin("/metrics"))[1]
            kube.put(mo.peer_authentication("strict", "STRICT"))
            await until(lambda: (kube.get("peerauthentications", "shop", "strict") or {}).get("status"))


async def test_bad_setting_ends_the_program_with_one_sentence() -> None:
    """No traceback, exit code 2."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "controlplane",
        env={**os.environ, "TULLE_XDS_PORT": "many"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()

    assert process.returncode == 2
    assert err.decode() == "tulle-controlplane: TULLE_XDS_PORT is 'many', it must be a whole number from 0 to 65535\n"


@pytest.mark.timeout(60)
async def test_program_ends_with_code_zero_on_sigterm(tmp_path: Path) -> None:
    """As Kubernetes ends it."""
    async with kube_server() as kube:
        shop(kube)
        config: dict[str, Any] = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "clusters": [{"name": "k", "cluster": {"server": kube.connection.server}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        path = tmp_path / "config"
        path.write_text(yaml.safe_dump(config))
        ports = dict.fromkeys(("TULLE_XDS_PORT", "TULLE_ADMIN_PORT", "TULLE_WEBHOOK_PORT"), "0")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "controlplane",
            env={**os.environ, **ports, "KUBECONFIG": str(path), "TULLE_HOST": "127.0.0.1", "TULLE_DRAIN_SECONDS": "1"},
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr
        lines: list[str] = []
        while not any("serving: admin" in line for line in lines):
            lines.append((await process.stderr.readline()).decode())
            assert lines[-1], lines
        process.send_signal(signal.SIGTERM)
        rest = (await process.stderr.read()).decode()
        assert await process.wait() == 0, rest

    assert "Traceback" not in "".join(lines) + rest
