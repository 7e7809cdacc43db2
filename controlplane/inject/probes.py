"""The app's own probes and HTTP hooks, rewritten to be asked of the sidecar (architecture D6).

The kubelet speaks plaintext and has no identity, so under STRICT mutual TLS it would be refused at the app's port. It asks the
sidecar's admin port instead, which asks the app over loopback. In: a container. Out: the container with its probes rewritten
and the table for `TULLE_APP_PROBES`. Left alone: exec, probes of another host, and ports by a name the container does not have.
gRPC probes travel as `scheme: GRPC` with the service as path and `tcp: true`, for sidecars that can only try the connection.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from meshapi import names

Object = dict[str, Any]
Table = dict[str, Object]
"""Path on the sidecar's admin port to what is asked of the app."""

PREFIX = "/app-health/"
_PROBES = (("livenessProbe", "livez"), ("readinessProbe", "readyz"), ("startupProbe", "startupz"))
_HOOKS = (("postStart", "poststartz"), ("preStop", "prestopz"))
_HOOK_SECONDS = 30
_ACTIONS = ("httpGet", "tcpSocket", "grpc")


def rewrite(container: Object) -> tuple[Object, Table]:
    """Return the container with its probes pointed at the sidecar, and what the sidecar must ask in turn."""
    changed = copy.deepcopy(container)
    table: Table = {}
    for holder, word, seconds in _holders(changed):
        question = _question(holder, changed, seconds)
        if question is None:
            continue
        path = f"{PREFIX}{container.get('name', '')}/{word}"
        table[path] = question
        for action in _ACTIONS:
            holder.pop(action, None)
        holder["httpGet"] = {"path": path, "port": names.PROXY_ADMIN_PORT, "scheme": "HTTP"}
    return changed, table


def hold_the_end(container: Object) -> Object:
    """Let the kubelet ask the sidecar before it stops the app, so that callers have moved on; an own preStop hook stays."""
    lifecycle = container.get("lifecycle") or {}
    if lifecycle.get("preStop"):
        return container
    return container | {"lifecycle": lifecycle | {"preStop": prestop()}}


def prestop() -> Object:
    """Build the hook that ends when callers have moved on."""
    return {"httpGet": {"path": names.PRESTOP_PATH, "port": names.PROXY_ADMIN_PORT, "scheme": "HTTP"}}


def _holders(container: Object) -> Iterator[tuple[Object, str, int]]:
    """Yield each probe or hook, the word in its path, and how long the app may take."""
    for field, word in _PROBES:
        probe = container.get(field)
        if isinstance(probe, dict):
            yield probe, word, int(probe.get("timeoutSeconds") or 1)
    lifecycle = container.get("lifecycle")
    if isinstance(lifecycle, dict):
        for field, word in _HOOKS:
            # A hook's tcpSocket is deprecated and does nothing; only httpGet comes over the network.
            if isinstance(lifecycle.get(field), dict) and "httpGet" in lifecycle[field]:
                yield lifecycle[field], word, _HOOK_SECONDS


def _question(holder: Object, container: Object, seconds: int) -> Object | None:
    """Describe what the kubelet would have asked; None where it is to ask the app itself as before."""
    action = next((a for a in _ACTIONS if isinstance(holder.get(a), dict)), "")
    if not action:
        return None
    asked = holder[action]
    port = _port(asked.get("port"), container)
    if port is None or asked.get("host") or _is_rewritten(asked):
        return None
    question: Object = {"port": port, "path": "", "scheme": "", "headers": [], "tcp": True, "timeout": seconds}
    if action == "grpc":
        question |= {"scheme": "GRPC", "path": asked.get("service") or ""}
    elif action == "httpGet":
        headers = [[h.get("name", ""), h.get("value", "")] for h in asked.get("httpHeaders") or ()]
        question |= {
            "path": asked.get("path") or "/",
            "scheme": asked.get("scheme") or "HTTP",
            "headers": headers,
            "tcp": False,
        }
    return question


def _port(port: object, container: Object) -> int | None:
    if isinstance(port, int):
        return port
    if isinstance(port, str) and port.isascii() and port.isdigit():
        return int(port)
    for entry in container.get("ports") or ():
        if entry.get("name") == port and port:
            return int(entry["containerPort"])
    return None


def _is_rewritten(asked: Object) -> bool:
    return asked.get("port") == names.PROXY_ADMIN_PORT and str(asked.get("path", "")).startswith(
        (PREFIX, names.PRESTOP_PATH)
    )
