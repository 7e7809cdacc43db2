"""What a sidecar is told when it starts: by the injector through the environment, or by hand on the command line.

In: environment variables named in `meshapi.names`, and arguments. Out: one frozen `Settings`. Refuses, naming the variable
or argument, what it held and what would be right; a sidecar with half an identity must not run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meshapi import identity, names
from meshapi.records import record

LEVELS = ("debug", "info", "warning", "error")
WORKERS = 64
"""More are no sidecar any more."""


class BadSettingError(ValueError):
    """A setting nobody can work with; the message is the sentence to show."""


@record
class Probe:
    """An app's own probe, asked of the sidecar by the kubelet and passed on (D6)."""

    port: int
    path: str = "/"
    scheme: str = "HTTP"
    headers: tuple[tuple[str, str], ...] = ()
    tcp: bool = False
    timeout: float = 1.0
    """Seconds."""


@record
class Mesh:
    """Where the control plane is and who this sidecar is to it."""

    xds_host: str
    xds_port: int
    identity: identity.Identity
    pod: str
    pod_ips: tuple[str, ...]
    roots: bytes
    """PEM of the roots trusted when the pod was made."""
    workload: str = ""
    token_path: Path = Path(names.TOKEN_PATH)
    state_dir: Path = Path(names.STATE_DIR)


@record
class Settings:
    """Everything a sidecar is told."""

    mesh: Mesh | None = None
    """None when the configuration comes from a file."""
    config: Path | None = None
    """An Envoy bootstrap file with static resources, instead of a control plane."""
    admin_host: str = ""
    """Empty listens on all addresses, IPv4 and IPv6."""
    admin_port: int = names.PROXY_ADMIN_PORT
    outbound_port: int = names.OUTBOUND_PORT
    inbound_port: int = names.INBOUND_PORT
    concurrency: int = 1
    drain_seconds: float = 25.0
    idle_seconds: float = 600.0
    """How long a destination that is not used is kept."""
    log_level: str = "info"
    access_log: str = ""
    """`json`, `text` or empty for none."""
    access_log_share: float = 1.0
    """Of requests that are logged; failed ones always are."""
    memory_limit: int = 0
    """Bytes all workers may have; 0 is what the cgroup says."""
    max_connections: int = 100_000
    """Of a worker, from clients and to servers."""
    max_connections_per_source: int = 10_000
    """Of a client address that connects to this pod; 0 is no bound."""
    max_header_bytes: int = 64 * 1024
    """Of a head, with its first line."""
    max_header_count: int = 1000
    """Lines of a head."""
    probes: tuple[tuple[str, Probe], ...] = ()
    """By the path the kubelet asks for."""


def from_process() -> Settings:
    """Read what this process was given; raises BadSettingError."""
    return read(os.environ, sys.argv[1:])


def read(environment: Mapping[str, str], arguments: Sequence[str]) -> Settings:
    """Read all settings; raises BadSettingError."""
    given = _arguments(arguments) if arguments else {}
    common = given | {
        "concurrency": _number(environment, names.ENV_CONCURRENCY, given.get("concurrency", 1), 1, WORKERS),
        "drain_seconds": float(_number(environment, names.ENV_DRAIN_SECONDS, 25, 0, 3600)),
        "idle_seconds": float(_number(environment, names.ENV_IDLE_SECONDS, 600, 5, 86400)),
        "log_level": environment.get(names.ENV_LOG_LEVEL) or given.get("log_level", "info"),
        "access_log_share": _number(environment, names.ENV_ACCESS_LOG_SHARE, 100, 0, 100) / 100,
        "memory_limit": _number(environment, names.ENV_MEMORY_LIMIT, 0, 0, 1 << 50),
        "max_connections": _number(environment, names.ENV_MAX_CONNECTIONS, 100_000, 1, 10_000_000),
        "max_connections_per_source": _number(environment, names.ENV_MAX_CONNECTIONS_PER_SOURCE, 10_000, 0, 10_000_000),
        "max_header_bytes": _number(environment, names.ENV_MAX_HEADER_BYTES, 64 * 1024, 4096, 1 << 20),
        "max_header_count": _number(environment, names.ENV_MAX_HEADER_COUNT, 1000, 32, 20_000),
    }
    if common["log_level"] not in LEVELS:
        raise BadSettingError(f"log level {common['log_level']!r} is none of {', '.join(LEVELS)}")
    if "config" in given:
        return Settings(**common)
    return Settings(mesh=_mesh(environment), probes=_probes(environment.get(names.ENV_APP_PROBES, "")), **common)


def _arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Read what was given on the command line, by hand: the injector gives none."""
    import argparse  # noqa: PLC0415 - a third of a megabyte that a sidecar of a mesh never needs

    parser = argparse.ArgumentParser(
        prog="tulle-proxy", description="The sidecar of a Tulle mesh.", argument_default=argparse.SUPPRESS
    )
    parser.add_argument("--config", type=Path, help="run from an Envoy bootstrap file instead of a control plane")
    parser.add_argument("--admin-host", help="address of metrics and health (default: all)")
    parser.add_argument("--admin-port", help="port of metrics and health")
    parser.add_argument("--concurrency", help="workers sharing the listeners")
    parser.add_argument("--log-level")
    parser.add_argument("--access-log", choices=["", "json", "text"])
    given = vars(parser.parse_args(arguments))
    bounds = {"admin_port": ("--admin-port", 65535), "concurrency": ("--concurrency", WORKERS)}
    return given | {name: _whole(bounds[name][0], given[name], 1, bounds[name][1]) for name in bounds.keys() & given}


def _mesh(environment: Mapping[str, str]) -> Mesh:
    host, _, port = _needed(environment, names.ENV_XDS_ADDRESS).rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise BadSettingError(f"{names.ENV_XDS_ADDRESS} is {environment[names.ENV_XDS_ADDRESS]!r}; right is host:port")
    roots = _needed(environment, names.ENV_CA_ROOTS)
    if "BEGIN CERTIFICATE" not in roots:
        raise BadSettingError(f"{names.ENV_CA_ROOTS} holds no PEM certificate")
    try:
        who = identity.Identity(
            trust_domain=_needed(environment, names.ENV_TRUST_DOMAIN),
            namespace=_needed(environment, names.ENV_NAMESPACE),
            account=environment.get(names.ENV_SERVICE_ACCOUNT) or "default",
        )
    except identity.BadIdentityError as problem:
        raise BadSettingError(f"this pod's identity is none: {problem}") from None
    ips = environment.get(names.ENV_POD_IPS) or _needed(environment, names.ENV_POD_IP)
    return Mesh(
        xds_host=host,
        xds_port=int(port),
        identity=who,
        pod=_needed(environment, names.ENV_POD),
        pod_ips=tuple(ip.strip() for ip in ips.split(",") if ip.strip()),
        roots=roots.encode(),
        workload=environment.get(names.ENV_WORKLOAD, ""),
    )


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise BadSettingError(f"{name} is not set; the injector sets it, or use --config for a sidecar without a mesh")
    return value


def _number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environment.get(name, "")
    return _whole(name, text, least, most) if text else default


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise BadSettingError(f"{name} is {text!r}; right is a whole number from {least} to {most}")
    return int(text)


def _probes(text: str) -> tuple[tuple[str, Probe], ...]:
    """Read the table of the app's probes."""
    if not text:
        return ()
    try:
        table = json.loads(text)
        return tuple((path, _probe(one)) for path, one in sorted(table.items()))
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise BadSettingError(f"{names.ENV_APP_PROBES} is no table of probes: {problem}") from None


def _probe(one: Mapping[str, object]) -> Probe:
    headers = one.get("headers") or ()
    if not isinstance(headers, list | tuple):
        raise TypeError("headers is no list")
    return Probe(
        port=int(str(one["port"])),
        path=str(one.get("path") or "/"),
        scheme=str(one.get("scheme") or "HTTP").upper(),
        headers=tuple((str(key), str(value)) for key, value in headers),
        tcp=bool(one.get("tcp")),
        timeout=float(str(one.get("timeout") or 1)),
    )
