"""The client of the API server: whatever is answered is an object or an ApiError, which everybody who calls knows how to survive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from controlplane.kube.client import ApiError, Cluster
from controlplane.kube.connect import Connection
from controlplane.write.leader import Elector

BODIES = [b"", b"<html>Bad Gateway</html>", b'{"metadata": {"na', b"[]", b'"words"', b"\xff", b"null"]


@pytest.fixture(params=BODIES, ids=repr)
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """A cluster behind something that says yes to everything, with these bytes."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=request.param, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = Cluster(Connection(server=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    yield made
    await made.close()
    await runner.cleanup()


async def test_answer_that_is_no_object_is_an_error_of_the_api_server(cluster: Cluster) -> None:
    """A balancer's page or half an object ended the process: nobody expects a library's exception."""
    for call in (
        lambda: cluster.get("/x"),
        lambda: cluster.create("/x", {}),
        lambda: cluster.update("/x", {}),
        lambda: cluster.patch("/x", {}),
        lambda: anext(cluster.pages("/x")),
    ):
        with pytest.raises(ApiError, match=r"no (object|list)"):
            await call()


async def test_replica_whose_lease_is_answered_with_nonsense_tries_again(cluster: Cluster) -> None:
    """It does not lead, and it does not end."""
    elector = Elector(cluster, "tulle-system", "tulle", "one")

    assert not await asyncio.wait_for(elector._renewed(), 10)
