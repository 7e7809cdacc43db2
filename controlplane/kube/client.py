"""The thin Kubernetes client of the control plane: get, list in chunks, watch, create, patch.

In: paths as the API has them (`path_of` makes them) and plain dicts. Out: decoded JSON. Refuses everything that is not success with
an ApiError that carries code, reason and the server's sentence. It keeps no cache and retries nothing: callers know what a retry means, and wait for it by `pause`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from controlplane.kube.connect import Connection

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
USER_AGENT = "tulle-controlplane"
"""What this client calls itself; the API server takes it for the manager of fields that are written without naming one."""
CHUNK = 500
MAX_LINE = 16 * 1024 * 1024
"""No object of Kubernetes comes near; a longer line of a watch is not one."""
CONNECT_SECONDS = 10.0
SPREAD_SECONDS = 0.2
"""Over so long come all who waited for an API server that is back."""
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are not the JSON asked for: another shape, no UTF-8, nested too deep."""
_BAD_GATEWAY = 502


class ApiError(Exception):
    """The API server said no, or something that is no answer; `code` and `reason` are its own, `retry_after` the seconds it asks for (0 when it does not)."""

    def __init__(self, code: int, reason: str, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after


def path_of(api: str, plural: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """Make the path of a resource: `api` is `v1` or `<group>/<version>`."""
    root = f"/api/{api}" if "/" not in api else f"/apis/{api}"
    parts = [root, *(["namespaces", namespace] if namespace else []), plural]
    return "/".join(parts + [part for part in (name, subresource) if part])


class Cluster:
    """One API server, through one pool of connections; made inside the running loop."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        connector = aiohttp.TCPConnector(
            ssl=connection.ssl_context() if connection.server.startswith("https") else False
        )
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=30, sock_connect=CONNECT_SECONDS), trust_env=False
        )
        self._away = False
        self._back = asyncio.Event()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def pause(self, seconds: float) -> None:
        """Wait so long; when the API server could not be reached and answers anybody meanwhile, no longer than that.

        Who follows several kinds knows them all of about the same time then, and not one of them as it was seconds ago.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._back.wait()
        except TimeoutError:
            return
        await asyncio.sleep(random.uniform(0.0, SPREAD_SECONDS))  # noqa: S311 - spreads load, no secret

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Any = None, content: str = ""
    ) -> bytes:
        """Do one request and return the answer's body; raises ApiError, or aiohttp.ClientError when nobody answers."""
        headers = self._headers()
        data = None if body is None else msgspec.json.encode(body)
        if data is not None:
            headers["content-type"] = content or "application/json"
        url = self.connection.server + path
        async with self._asked(method, url, params=params, data=data, headers=headers) as response:
            payload = await response.read()
            if response.status >= 300:
                raise _error(response, payload)
            return payload

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read one object (or one page of a list)."""
        return _object(await self.request("GET", path, params=params), f"GET {path}")

    async def create(self, path: str, body: Any) -> dict[str, Any]:
        """POST an object."""
        return _object(await self.request("POST", path, body=body), f"POST {path}")

    async def update(self, path: str, body: Any) -> dict[str, Any]:
        """PUT an object; a stale resourceVersion is a 409."""
        return _object(await self.request("PUT", path, body=body), f"PUT {path}")

    async def patch(self, path: str, body: Any, *, content: str = MERGE_PATCH, manager: str = "") -> dict[str, Any]:
        """Change an object; with APPLY_PATCH and a manager this is server-side apply."""
        params = {"fieldManager": manager, "force": "true"} if content == APPLY_PATCH else {}
        return _object(await self.request("PATCH", path, params=params, body=body, content=content), f"PATCH {path}")

    async def pages(self, path: str, params: Mapping[str, str] | None = None) -> AsyncIterator[bytes]:
        """Read a list in chunks; each item is one page, undecoded."""
        token = ""
        while True:
            page = await self.request(
                "GET", path, params={**(params or {}), "limit": str(CHUNK), **({"continue": token} if token else {})}
            )
            try:
                token = msgspec.json.decode(page, type=_Page).metadata.continue_
            except UNREADABLE as error:
                raise ApiError(_BAD_GATEWAY, "BadAnswer", f"the answer to GET {path} is no list: {error}") from error
            yield page
            if not token:
                return

    async def watch(self, path: str, params: Mapping[str, str], silence: float) -> AsyncIterator[bytes]:
        """Follow a watch; each item is one line, and the first is empty: the server has begun.

        Ends when the server ends it; raises TimeoutError after `silence` seconds without a byte.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        url = self.connection.server + path
        async with self._asked(
            "GET", url, params={**params, "watch": "true"}, headers=self._headers(), timeout=timeout
        ) as answer:
            if answer.status >= 300:
                raise _error(answer, await answer.read())
            yield b""
            rest = b""
            async for piece in answer.content.iter_any():
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > MAX_LINE:
                    raise ApiError(500, "TooLarge", f"watch of {path}: a line longer than {MAX_LINE} bytes")
                for line in lines:
                    if line:
                        yield line

    @asynccontextmanager
    async def _asked(self, method: str, url: str, **more: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask; note whether there is anybody."""
        try:
            async with self._session.request(method, url, **more) as response:
                if self._away:
                    self._away = False
                    self._back.set()
                    self._back = asyncio.Event()
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            self._away = True
            raise

    def _headers(self) -> dict[str, str]:
        token = self.connection.token()
        headers = {"accept": "application/json", "user-agent": USER_AGENT}
        return headers | ({"authorization": f"Bearer {token}"} if token else {})


class _PageMeta(msgspec.Struct, rename={"continue_": "continue"}):
    continue_: str = ""


class _Page(msgspec.Struct):
    metadata: _PageMeta


class _Status(msgspec.Struct):
    reason: str = ""
    message: str = ""


def _object(payload: bytes, what: str) -> dict[str, Any]:
    """Read an object; what is none was said by somebody on the way, and is an error like any other."""
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except UNREADABLE as error:
        raise ApiError(_BAD_GATEWAY, "BadAnswer", f"the answer to {what} is no object: {error}") from error


def _error(response: aiohttp.ClientResponse, payload: bytes) -> ApiError:
    try:
        status = msgspec.json.decode(payload, type=_Status)
    except UNREADABLE:
        status = _Status(message=payload[:200].decode(errors="replace"))
    after = response.headers.get("retry-after", "")
    message = status.message or f"the API server answered {response.status}"
    return ApiError(
        response.status, status.reason, message, float(after) if after.isascii() and after.isdigit() else 0.0
    )
