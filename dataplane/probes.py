"""Pass the kubelet's probes on to the app, so that STRICT mutual TLS does not break them (D6).

In: the table the injector wrote, and the path the kubelet asked for. Out: the app's own status, or 502 with a sentence. The
request goes to the app directly (the sidecar's own traffic is not captured), at the pod's address, as the kubelet would have.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import urllib.parse
from collections.abc import Mapping

from dataplane.admin import Answer, Request, text
from dataplane.settings import Probe

_HEAD_LIMIT = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})\b")
_IN_TARGET = "/?#[]@!$&'()*+,;=:%-._~"
"""What stands in a path as it is; the rest is escaped, as the kubelet does."""
_OWNED = frozenset(("host", "connection", "user-agent", "accept"))


class Probes:
    """The app's probes, by the path the kubelet asks for."""

    def __init__(self, table: Mapping[str, Probe], address: str) -> None:
        self._table = table
        self._address = address

    async def answer(self, request: Request) -> Answer:
        """Ask the app."""
        probe = self._table.get(request.path)
        if probe is None:
            return text(f"{request.path} is no probe of this pod's app", 404)
        where = f"{self._address}:{probe.port}{'' if probe.tcp else probe.path}"
        try:
            return await asyncio.wait_for(self._ask(probe), probe.timeout)
        except TimeoutError:
            return text(f"the app did not answer at {where} in {probe.timeout:g} s", 504)
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as problem:
            return text(f"the app cannot be asked at {where}: {problem}", 502)

    async def _ask(self, probe: Probe) -> Answer:
        context = _unverified() if probe.scheme == "HTTPS" and not probe.tcp else None
        reader, writer = await asyncio.open_connection(self._address, probe.port, ssl=context, limit=_HEAD_LIMIT)
        try:
            if probe.tcp:
                return text("the app takes connections")
            writer.write(_request(probe, self._address))
            await writer.drain()
            status = await _status(reader)
            # The kubelet takes 200 to 399 for success; a redirect of the app's must not send it elsewhere.
            return text(f"the app answered {status}", 200 if 200 <= status < 400 else status)
        finally:
            writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    """Read the status of the answer; interim ones come before it (RFC 9110, section 15.2)."""
    while True:
        found = _STATUS.match(await reader.readuntil(b"\n"))
        if found is None:
            raise ValueError("the answer is no HTTP")
        status = int(found[1])
        if status >= 200:
            return status
        while (await reader.readuntil(b"\n")).strip():
            continue


def _request(probe: Probe, address: str) -> bytes:
    headers = {name.lower(): value for name, value in probe.headers}
    host = headers.get("host") or f"{f'[{address}]' if ':' in address else address}:{probe.port}"
    lines = [f"GET {urllib.parse.quote(probe.path, safe=_IN_TARGET)} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines.append(f"User-Agent: {headers.get('user-agent', 'kube-probe/tulle')}")
    lines.append(f"Accept: {headers.get('accept', '*/*')}")
    lines += [f"{name}: {value}" for name, value in probe.headers if name.lower() not in _OWNED]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _unverified() -> ssl.SSLContext:
    """Build a context that takes any certificate, as the kubelet's probes do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
