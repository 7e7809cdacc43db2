"""Admission has a thread of its own: it answers whatever the control plane's loop is at, by the certificate of the moment, and says so when it cannot."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import urllib.request
from dataclasses import replace
from typing import Any

import pytest

from controlplane.app import App
from controlplane.kube.client import Cluster
from controlplane.kube.connect import Connection
from tests.controlplane.test_app_run import INJECT, LOCAL, Running, running, shop
from tests.support.kubeserver import kube_server
from tests.support.waiting import until

NODE = {"kind": "Node", "metadata": {"name": "old"}, "spec": {}, "status": {"nodeInfo": {"kubeletVersion": "v1.20.0"}}}


def asked(mesh: Running, path: str = "/inject") -> Any:
    """Ask and wait for the answer, holding the control plane's loop meanwhile."""
    context = ssl.create_default_context(cadata=mesh.app.trust.roots_pem)
    context.check_hostname = False
    pod = {"metadata": {"name": "first", "annotations": INJECT}, "spec": {"containers": [{"name": "app"}]}}
    review = {"request": {"uid": "u", "namespace": "shop", "kind": {"kind": "Pod"}, "object": pod}}
    url = f"https://127.0.0.1:{mesh.app.ports['webhook']}{path}"
    request = urllib.request.Request(url, json.dumps(review).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5, context=context) as answer:
        return json.load(answer)["response"]


async def test_pod_is_injected_while_the_loop_of_the_control_plane_is_held() -> None:
    """A pass or a thousand pushes hold it for as long as they take; nobody who creates a pod waits for that."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh:
            said = asked(mesh)
            await until(lambda: mesh.app.admissions.get(("inject", "injected")) == 1)

    assert said["allowed"]
    assert said["patch"]


async def test_node_that_comes_is_known_to_the_next_review() -> None:
    """What a review reads is what the feed brought last."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh:
            native = asked(mesh)["patch"]
            kube.put(NODE)
            await until(lambda: mesh.app.store.get("Node", "", "old") is not None)
            plain = asked(mesh)["patch"]

    assert native != plain


async def test_webhooks_serve_with_the_certificate_of_the_moment() -> None:
    """It is renewed at half its life, without a restart."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube) as mesh:
            here = "127.0.0.1", mesh.app.ports["webhook"]
            before = ssl.get_server_certificate(here, timeout=5)
            mesh.app.serving.renew()
            after = ssl.get_server_certificate(here, timeout=5)

    assert before != after


async def test_port_that_is_taken_ends_the_control_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes starts it anew, and says why; no connection is left open."""
    made: list[Cluster] = []

    class Counted(Cluster):
        def __init__(self, connection: Connection) -> None:
            super().__init__(connection)
            made.append(self)

    monkeypatch.setattr("controlplane.app.Cluster", Counted)
    async with kube_server() as kube:
        shop(kube)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            app = App(replace(LOCAL, webhook_port=taken.getsockname()[1]), kube.connection)
            # kopf that is told to end while it begins does not end, and leaves its connection open; the process would go.
            monkeypatch.setattr(app.operator, "run", asyncio.Event().wait)
            async with asyncio.timeout(20):
                with pytest.raises(ExceptionGroup) as found:
                    await app.run(asyncio.Event())

    assert found.group_contains(OSError, match="in use")
    assert len(made) == 3
    assert all(cluster._session.closed for cluster in made)
