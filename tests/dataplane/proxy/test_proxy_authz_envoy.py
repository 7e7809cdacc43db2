"""The same rules and the same requests given to our sidecar and to Envoy, and the same verdicts asked of both."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import Authority
from tests.support.envoy import BINARY, ROOT
from tests.support.ports import free_ports

TYPE = "type.googleapis.com/envoy."
HTTP_RBAC = TYPE + "extensions.filters.http.rbac.v3.RBAC"
NETWORK_RBAC = TYPE + "extensions.filters.network.rbac.v3.RBAC"
ALICE, BOB = "spiffe://test/ns/shop/sa/alice", "spiffe://test/ns/shop/sa/bob"
SERVER = "spiffe://test/ns/a/sa/server"
ANY = {"any": True}
Object = dict[str, Any]


def policy(permission: Object | list[Object] = ANY, principal: Object | list[Object] = ANY) -> Object:
    lists = [one if isinstance(one, list) else [one] for one in (permission, principal)]
    return {"permissions": lists[0], "principals": lists[1]}


def allow(*policies: Object) -> Object:
    return {"action": "ALLOW", "policies": {f"p{i}": one for i, one in enumerate(policies)}}


def deny(*policies: Object) -> Object:
    return {**allow(*policies), "action": "DENY"}


def header(name: str, **match: Any) -> Object:
    return {"header": {"name": name, **match}}


def path(**match: Any) -> Object:
    return {"url_path": {"path": match}}


def named(**match: Any) -> Object:
    return {"authenticated": {"principal_name": match}}


def cidr(kind: str, prefix: str, size: int) -> Object:
    return {kind: {"address_prefix": prefix, "prefix_len": size}}


GET = header(":method", string_match={"exact": "GET"})
RULES: dict[str, Object] = {
    "nothing allowed": allow(),
    "nothing denied": deny(),
    "all": allow(policy()),
    "none": deny(policy()),
    "alice": allow(policy(ANY, named(exact=ALICE))),
    "not alice": deny(policy(ANY, named(exact=ALICE))),
    "namespace": allow(policy(ANY, named(prefix="spiffe://test/ns/shop/"))),
    "account regex": allow(policy(ANY, named(safe_regex={"regex": "spiffe://[^/]+/ns/[^/]+/sa/b.*"}))),
    "anybody known": allow(policy(ANY, {"authenticated": {}})),
    "alice gets": allow(policy({"and_rules": {"rules": [GET, path(prefix="/a")]}}, named(suffix="/alice"))),
    "bob or get": allow(policy(ANY, named(exact=BOB)), policy(GET)),
    "not get": deny(policy({"not_rule": GET})),
    "path exact": allow(policy(path(exact="/a"))),
    "path contains": deny(policy(path(contains="B", ignore_case=True))),
    "path regex": allow(policy(path(safe_regex={"regex": "/a(/.*)?"}))),
    "raw path": allow(policy(header(":path", string_match={"exact": "/a?x=/b"}))),
    "host": allow(policy(header(":authority", string_match={"exact": "web.test"}))),
    "host by its old name": allow(policy(header("host", string_match={"prefix": "web"}))),
    "scheme": allow(policy(header(":scheme", string_match={"exact": "http"}))),
    "header": allow(policy(header("x-team", string_match={"exact": "red"}))),
    "header twice": allow(policy(header("x-team", string_match={"exact": "red,blue"}))),
    "header twice there": allow(policy(header("x-team", string_match={"exact": "blue"}))),
    "header twice denied": deny(policy(header("x-team", string_match={"exact": "blue"}))),
    "header twice other": allow(policy(header("x-team", string_match={"exact": "blue"}, invert_match=True))),
    "header twice none": deny(policy({"not_rule": header("x-team", string_match={"prefix": "r"})})),
    "header empty": allow(policy(header("x-team", string_match={"safe_regex": {"regex": "x*"}}))),
    "header there": allow(policy(header("x-team", present_match=True))),
    "header not there": allow(policy(header("x-team", present_match=False))),
    "header other": allow(policy(header("x-team", string_match={"exact": "red"}, invert_match=True))),
    "header there inverted": allow(policy(header("x-team", present_match=True, invert_match=True))),
    "header regex": deny(policy(header("x-team", safe_regex_match={"regex": "r.*"}))),
    "header in principal": allow(policy(ANY, header("x-team", string_match={"contains": "e"}))),
    "path in principal": deny(policy(ANY, path(exact="/a"))),
    "loopback": allow(policy(ANY, cidr("direct_remote_ip", "127.0.0.0", 8))),
    "not loopback": deny(policy(ANY, cidr("source_ip", "127.0.0.1", 32))),
    "client": allow(policy(ANY, cidr("remote_ip", "10.1.0.0", 16))),
    "client is not": deny(policy(ANY, {"not_id": cidr("remote_ip", "127.0.0.0", 8)})),
    "destination": allow(policy(cidr("destination_ip", "127.0.0.0", 24))),
    "six": allow(policy(cidr("destination_ip", "::", 0))),
    "other port": allow(policy({"destination_port": 1})),
    "ports": allow(policy({"destination_port_range": {"start": 1024, "end": 65536}})),
    "server name": allow(policy({"requested_server_name": {"exact": "web.test"}})),
    "either": allow(policy({"or_rules": {"rules": [path(exact="/b"), header("x-team", present_match=True)]}})),
    "two of both": allow(policy([path(exact="/b"), GET], [named(exact=BOB), header("x-team", present_match=True)])),
    "nested": deny(
        policy({"not_rule": {"or_rules": {"rules": [GET, {"and_rules": {"rules": [ANY, path(prefix="/b")]}}]}}})
    ),
}
REQUESTS: list[tuple[str, str, str, tuple[tuple[str, str], ...]]] = [
    ("GET", "/a", "web.test", ()),
    ("POST", "/a", "web.test:80", ()),
    ("GET", "/b/c?q=1", "other.test", (("X-Team", "red"),)),
    ("GET", "/a?x=/b", "web.test", (("x-team", "red"), ("x-team", "blue"))),
    ("DELETE", "/a/b", "WEB.test", (("x-team", "green"), ("x-forwarded-for", "10.1.2.3"))),
    ("GET", "/abc", "web.test", (("x-forwarded-for", "10.1.2.3, 192.168.0.1"),)),
    ("PUT", "/", "web.test", (("x-team", ""), ("x-forwarded-for", "nonsense"))),
]


def listener(name: str, port: int, rules: Object, kind: str, tls: Object | None) -> Object:
    """A listener that answers 200 to whoever is let in; `kind` is `http` or `network`."""
    rbac = {"name": "rbac", "typed_config": {"@type": HTTP_RBAC if kind == "http" else NETWORK_RBAC, "rules": rules}}
    if kind == "network":
        rbac["typed_config"]["stat_prefix"] = "n"  # type: ignore[index]
    router = {"name": "router", "typed_config": {"@type": TYPE + "extensions.filters.http.router.v3.Router"}}
    host = {"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}
    manager = {
        "@type": TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "route_config": {"name": "r", "virtual_hosts": [host]},
        "http_filters": [*([rbac] if kind == "http" else []), router],
    }
    chain: Object = {"filters": [*([rbac] if kind == "network" else []), {"name": "hcm", "typed_config": manager}]}
    if tls is not None:
        chain["transport_socket"] = {"name": "tls", "typed_config": tls}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    inspector = {
        "name": "names",
        "typed_config": {"@type": TYPE + "extensions.filters.listener.tls_inspector.v3.TlsInspector"},
    }
    return {"name": name, "address": address, "listener_filters": [inspector], "filter_chains": [chain]}


def downstream_tls(authority: Authority) -> Object:
    certificate, key = authority.issue(SERVER)
    return {
        "@type": TYPE + "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [
                {
                    "certificate_chain": {"inline_string": certificate.decode()},
                    "private_key": {"inline_string": key.decode()},
                }
            ],
            "validation_context": {"trusted_ca": {"inline_string": authority.roots.decode()}},
        },
    }


class Client:
    """Somebody who calls: over TLS with a name, or plainly."""

    def __init__(self, authority: Authority, folder: Path, identity: str) -> None:
        self.context: ssl.SSLContext | None = None
        if identity:
            certificate, key = authority.issue(identity)
            file = folder / f"{identity.rpartition('/')[2]}.pem"
            file.write_bytes(certificate + key)
            self.context = ssl.create_default_context(cadata=authority.roots.decode())
            self.context.check_hostname = False
            self.context.load_cert_chain(file)

    def ask(self, port: int) -> list[int]:
        """The status of each request, 0 where the connection was closed instead."""
        return [self._ask(port, *request) for request in REQUESTS]

    def _ask(self, port: int, method: str, target: str, host: str, headers: tuple[tuple[str, str], ...]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.connect()
            if self.context is not None:
                connection.sock = self.context.wrap_socket(connection.sock, server_hostname="web.test")
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in (("Host", host), *headers):
                connection.putheader(name, value)
            connection.endheaders()
            return connection.getresponse().status
        except (ConnectionError, ssl.SSLError, http.client.RemoteDisconnected):
            return 0
        finally:
            connection.close()


@contextmanager
def running(name: str, folder: Path, listeners: list[Object]) -> Iterator[None]:
    """A proxy with these listeners, ready."""
    (admin,) = free_ports(1)
    document = {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "static_resources": {"listeners": listeners},
    }
    file, log = folder / f"{name}.json", folder / f"{name}.log"
    file.write_text(json.dumps(document))
    ours = [
        sys.executable,
        "-m",
        "dataplane",
        "--config",
        str(file),
        "--admin-port",
        str(admin),
        "--admin-host",
        "127.0.0.1",
    ]
    theirs = [str(BINARY), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
    with log.open("wb") as out:
        process = subprocess.Popen(ours if name == "tulle" else theirs, stdout=out, stderr=out, cwd=ROOT)
    try:
        end = time.monotonic() + 20
        while not _ready(admin, "/healthz/ready" if name == "tulle" else "/ready"):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.05)  # readiness is asked for over HTTP: there is no event to await from outside
        yield
    finally:
        process.kill()
        process.wait()


def _ready(port: int, where: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", where)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def asks_requests(rules: Object) -> bool:
    """Whether rules cannot be given to a network filter."""
    text = json.dumps(rules)
    return '"header"' in text or '"url_path"' in text


Verdicts = dict[tuple[str, str, str], list[int]]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdicts]:
    """What each proxy answers, by rule, filter and caller."""
    folder = tmp_path_factory.mktemp("authz")
    authority = Authority()
    callers = {who: Client(authority, folder, who) for who in (ALICE, BOB, "")}
    tls = downstream_tls(authority)
    wanted = [
        (name, kind, secure)
        for name, rules in RULES.items()
        for kind in ("http", "network")
        for secure in (True, False)
        if kind == "http" or not asks_requests(rules)
    ]
    found: dict[str, Verdicts] = {}
    for proxy in ("envoy", "tulle"):
        ports = dict(zip(wanted, free_ports(len(wanted)), strict=True))
        listeners = [
            listener(f"{name} {kind} {secure}", port, RULES[name], kind, tls if secure else None)
            for (name, kind, secure), port in ports.items()
        ]
        with running(proxy, folder, listeners):
            end = time.monotonic() + 20
            while callers[""].ask(ports["all", "http", False])[0] == 503:  # it sheds what comes while it starts
                assert time.monotonic() < end
            found[proxy] = {
                (name, kind, who.rpartition("/")[2] or "nobody"): callers[who].ask(port)
                for (name, kind, secure), port in ports.items()
                for who in callers
                if bool(who) == secure
            }
    return found


@pytest.mark.parametrize("rule", RULES)
def test_verdicts_are_envoys(verdicts: dict[str, Verdicts], rule: str) -> None:
    """Rule by rule, for every request of every caller."""
    ours, theirs = ({key: got for key, got in verdicts[name].items() if key[0] == rule} for name in ("tulle", "envoy"))

    assert ours == theirs


def test_table_of_rules_lets_some_in_and_keeps_some_out(verdicts: dict[str, Verdicts]) -> None:
    """Else equality would say little."""
    seen = {status for got in verdicts["envoy"].values() for status in got}
    mixed = sum(len(set(got)) > 1 for got in verdicts["envoy"].values())

    assert seen == {0, 200, 403}
    assert mixed > 20
