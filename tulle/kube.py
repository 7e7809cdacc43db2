"""The few calls of the Kubernetes API the commands need, by the kubeconfig a person has.

In: a kubeconfig (the one named, KUBECONFIG's, or ~/.kube/config) and a context. Out: decoded objects, raw answers of pods by the API
server's proxy, websockets, and events of a watch. Everything it cannot do is a KubeError with one sentence. It needs no client library, so
commands start at once; client certificates, tokens and credential plugins are understood.
"""

from __future__ import annotations

import base64
import http
import http.client
import json
import os
import ssl
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
Query = Mapping[str, str | list[str]]


class KubeError(RuntimeError):
    """A call that did not work; the message is a sentence, `code` the HTTP status (0 when nobody answered)."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


def kubeconfig_path(named: str | None) -> Path:
    """Find the kubeconfig to use; raises KubeError when there is none."""
    candidates = [named] if named else [*os.environ.get("KUBECONFIG", "").split(os.pathsep), "~/.kube/config"]
    for candidate in candidates:
        path = Path(candidate).expanduser() if candidate else None
        if path is not None and path.is_file():
            return path
    raise KubeError(
        f"there is no kubeconfig at {named}" if named else "there is no kubeconfig; name one with --kubeconfig"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kube:
    """One cluster, as one user."""

    server: str
    tls: ssl.SSLContext | None
    headers: Mapping[str, str]
    namespace: str = "default"
    timeout: float = 30.0

    @classmethod
    def load(cls, named: str | None, context: str | None = None) -> Kube:
        """Read a kubeconfig; raises KubeError."""
        path = kubeconfig_path(named)
        try:
            return _from_config(yaml.safe_load(path.read_text()), path, context)
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise KubeError(f"the kubeconfig {path} cannot be used: {error}") from None

    def get(self, path: str, **query: str) -> Object:
        """Read an object or a list; raises KubeError."""
        found: Object = json.loads(self.request("GET", path, query=query))
        return found

    def find(self, path: str) -> Object | None:
        """Read an object that may not be there (nor its kind)."""
        try:
            return self.get(path)
        except KubeError as error:
            if error.code == 404:
                return None
            raise

    def items(self, path: str, **query: str) -> list[Object]:
        """List objects; a kind the cluster does not know has none."""
        try:
            found: list[Object] = self.get(path, **query)["items"]
        except KubeError as error:
            if error.code == 404:
                return []
            raise
        return found

    def create(self, path: str, obj: Object, **query: str) -> Object:
        """Make an object; raises KubeError."""
        made: Object = json.loads(self.request("POST", path, query=query, body=obj))
        return made

    def delete(self, path: str) -> bool:
        """Delete an object with what depends on it; False when it was not there."""
        try:
            self.request("DELETE", path, query={"propagationPolicy": "Background"})
        except KubeError as error:
            if error.code == 404:
                return False
            raise
        return True

    def gone(self, path: str, name: str, seconds: float) -> bool:
        """Wait until an object of a collection is gone; False when it still is there after some seconds."""
        there = self.find(f"{path}/{name}") is not None
        if not there:
            return True
        for change, _ in self.watch(path, seconds, fieldSelector=f"metadata.name={name}"):
            there = change != "DELETED"
            if not there:
                break
        return not there or self.find(f"{path}/{name}") is None

    def watch(self, path: str, seconds: float, **query: str) -> Iterator[tuple[str, Object]]:
        """Yield every change of a list with its type, what is there first as ADDED; ends after some seconds."""
        found = self.get(path, **query)
        yield from (("ADDED", item) for item in found["items"])
        query |= {
            "watch": "true",
            "resourceVersion": found["metadata"]["resourceVersion"],
            "timeoutSeconds": str(max(1, int(seconds))),
        }
        connection, answer = self._send("GET", path, query, None, seconds + 5)
        try:
            while line := answer.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]
        except OSError:
            return
        finally:
            connection.close()

    def request(self, method: str, path: str, *, query: Query | None = None, body: Any = None) -> bytes:
        """Do one request and return the answer's body; a list is sent as a JSON patch. Raises KubeError."""
        connection, answer = self._send(method, path, query or {}, body, self.timeout)
        payload = self._whole(connection, answer)
        if answer.status >= 300:
            raise KubeError(_sentence(answer.status, payload), answer.status)
        return payload

    def upgrade(self, path: str, query: Query) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Begin another protocol, which the headers ask for; what comes is read of the response, what goes is the connection's. Raises KubeError."""
        connection, answer = self._send("GET", path, query, None, self.timeout)
        if answer.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            return connection, answer
        raise KubeError(_sentence(answer.status, self._whole(connection, answer)), answer.status)

    def _whole(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> bytes:
        """Read an answer's body, and let the connection go. Raises KubeError."""
        try:
            return answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise KubeError(f"the API server at {self.server} stopped answering: {error}") from None
        finally:
            connection.close()

    def _send(
        self, method: str, path: str, query: Query, body: Any, timeout: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        where = urllib.parse.urlsplit(self.server)
        connection: http.client.HTTPConnection
        if self.tls is not None:
            connection = http.client.HTTPSConnection(where.netloc, timeout=timeout, context=self.tls)
        else:
            connection = http.client.HTTPConnection(where.netloc, timeout=timeout)
        target = where.path.rstrip("/") + target_of(path, query)
        headers = {
            "accept": "application/json",
            "content-type": "application/json-patch+json" if isinstance(body, list) else "application/json",
            "user-agent": "tulle",
            **self.headers,
        }
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise KubeError(f"the API server at {self.server} cannot be reached: {error}") from None


def target_of(path: str, query: Query) -> str:
    """Write a path and its query."""
    return path + (f"?{urllib.parse.urlencode(query, doseq=True)}" if query else "")


def _sentence(code: int, payload: bytes) -> str:
    """Take the server's own sentence out of a Status."""
    try:
        message = json.loads(payload).get("message")
    except (ValueError, AttributeError):
        message = payload[:300].decode(errors="replace").strip()
    return str(message or f"the API server answered {code}")


def _from_config(config: Object, path: Path, context: str | None) -> Kube:
    name = context or config["current-context"]
    chosen = _named(config, "contexts", name)["context"]
    cluster = _named(config, "clusters", chosen["cluster"])["cluster"]
    user = _named(config, "users", chosen["user"])["user"] or {}
    if user.get("exec"):
        user = user | _plugin(user["exec"])
    headers = {}
    token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if user.get("tokenFile") else "")
    if token:
        headers["authorization"] = f"Bearer {token}"
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    server = cluster["server"].rstrip("/")
    tls = _tls(cluster, user, path.parent) if server.startswith("https") else None
    return Kube(server=server, tls=tls, headers=headers, namespace=chosen.get("namespace") or "default")


def _named(config: Object, kind: str, name: str) -> Object:
    for entry in config.get(kind) or ():
        if entry["name"] == name:
            found: Object = entry
            return found
    raise ValueError(f"it has no entry {name!r} under {kind}")


def _blob(entry: Object, key: str, base: Path) -> bytes:
    if entry.get(f"{key}-data"):
        return base64.b64decode(entry[f"{key}-data"])
    return (base / entry[key]).read_bytes() if entry.get(key) else b""


def _tls(cluster: Object, user: Object, base: Path) -> ssl.SSLContext:
    authority = _blob(cluster, "certificate-authority", base)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # what kubectl takes is taken, also by Python 3.13 and later
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _blob(user, "client-certificate", base)
    if certificate:
        # Python's ssl reads files only; this one nobody else can open, and it is gone at once.
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate + b"\n" + _blob(user, "client-key", base))
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _plugin(plugin: Object) -> Object:
    """Ask a credential plugin (client.authentication.k8s.io) who we are."""
    environment = os.environ | {e["name"]: e["value"] for e in plugin.get("env") or ()}
    command = [plugin["command"], *(plugin.get("args") or ())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise ValueError(f"its credential plugin {command[0]} failed: {done.stderr.strip()}")
    status = json.loads(done.stdout)["status"]
    found = {"token": status.get("token", "")}
    for ours, theirs in (("client-certificate-data", "clientCertificateData"), ("client-key-data", "clientKeyData")):
        if status.get(theirs):
            found[ours] = base64.b64encode(status[theirs].encode()).decode()
    return found
