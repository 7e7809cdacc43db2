"""HTTP to a pod by way of the API server: as it was asked, and as it came."""

from __future__ import annotations

import gzip
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from devcluster.api.proxying import HttpProxy


async def pod(request: web.Request) -> web.Response:
    """Say `said`, as gzip to who can read that."""
    if "gzip" in request.headers.get("accept-encoding", ""):
        return web.Response(body=gzip.compress(b"said"), headers={"content-encoding": "gzip"})
    return web.Response(body=b"said")


@pytest.mark.parametrize(("takes", "came"), [("gzip", "gzip"), ("identity", None), (None, None)])
async def test_answer_is_encoded_as_who_asks_can_read_it(takes: str | None, came: str | None) -> None:
    """The API server says nothing of its own about that: a client that took gzip for what it did not ask for would read nonsense."""
    served = web.Application()
    served.router.add_get("/metrics", pod)
    async with TestServer(served) as app:
        registry = SimpleNamespace(get=lambda *_: {"status": {"podIP": "127.0.0.1"}, "spec": {"containers": []}})
        proxy = HttpProxy(cast("Any", registry))
        target = SimpleNamespace(name=f"p:{app.port}", namespace="n", rest="metrics")

        async def carried(http: web.Request) -> web.StreamResponse:
            async def data() -> bytes:
                return await http.read()

            row = SimpleNamespace(plural="pods")
            return await proxy.answer(cast("Any", SimpleNamespace(http=http, target=target, row=row, data=data)))

        front = web.Application()
        front.router.add_get("/", carried)
        headers = {"accept-encoding": takes} if takes else {}
        async with (
            TestServer(front) as api,
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.get(api.make_url("/"), headers=headers, skip_auto_headers=("accept-encoding",)) as answer,
        ):
            body = await answer.read()
            assert answer.headers.get("content-encoding") == came
        await proxy.close()

    assert (gzip.decompress(body) if came else body) == b"said"
