"""Where the API server is and how to prove oneself to it: the pod's service account, or a kubeconfig for development.

In: settings. Out: `Connection`, whose token is read anew from its file when asked, because Kubernetes rotates it. Refuses, with
BadSettingError, to start where there is neither a service account nor a kubeconfig.
"""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controlplane.settings import ACCOUNT_DIR, BadSettingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """An API server and credentials for it."""

    server: str
    ca: bytes = b""
    """PEM; empty means the system's roots."""
    token_file: Path | None = None
    fixed_token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    insecure: bool = False

    def token(self) -> str:
        """The bearer token as it is now; empty when a certificate is used."""
        return self.token_file.read_text().strip() if self.token_file else self.fixed_token

    def ssl_context(self) -> ssl.SSLContext:
        """A client context that trusts the server and carries the certificate, if there is one."""
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        # The cluster's certificates are not ours to choose: what kubectl takes is taken, also by Python 3.13 and later.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            load_chain(context, self.certificate, self.key)
        return context


def load_chain(context: ssl.SSLContext, chain: bytes, key: bytes) -> None:
    """Give a context a chain and key held in memory: Python's ssl takes files only, so they pass through one that is on no disk."""
    file = os.memfd_create("chain", os.MFD_CLOEXEC)
    try:
        with open(file, "wb", closefd=False) as writer:
            writer.write(chain + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)


def in_cluster(address: tuple[str, str] | None, directory: Path = ACCOUNT_DIR) -> Connection:
    """Use the pod's service account; `address` is the API server's host and port as Kubernetes tells every pod."""
    if address is None or not (directory / "token").exists():
        raise BadSettingError(
            "no Kubernetes to talk to: KUBECONFIG is not set and this is no pod with a service account "
            f"(KUBERNETES_SERVICE_HOST and {directory}/token are what a pod has)"
        )
    host, port = address
    host = f"[{host}]" if ":" in host else host
    return Connection(
        server=f"https://{host}:{port}", ca=(directory / "ca.crt").read_bytes(), token_file=directory / "token"
    )


def _named(items: list[dict[str, Any]], name: str, what: str, path: Path) -> dict[str, Any]:
    for item in items or []:
        if item.get("name") == name:
            found: dict[str, Any] = item.get(what) or {}
            return found
    raise BadSettingError(f"KUBECONFIG {path}: there is no {what} named {name!r}")


def _blob(entry: dict[str, Any], key: str, base: Path) -> bytes:
    if entry.get(f"{key}-data"):
        return base64.b64decode(entry[f"{key}-data"])
    return (base / entry[key]).read_bytes() if entry.get(key) else b""


def from_kubeconfig(path: Path) -> Connection:
    """Use the current context of a kubeconfig; raises BadSettingError."""
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config["contexts"], config["current-context"], "context", path)
        cluster = _named(config["clusters"], context["cluster"], "cluster", path)
        user = _named(config["users"], context["user"], "user", path)
        token_file = Path(user["tokenFile"]) if user.get("tokenFile") else None
        return Connection(
            server=cluster["server"].rstrip("/"),
            ca=_blob(cluster, "certificate-authority", path.parent),
            token_file=token_file,
            fixed_token=user.get("token", ""),
            certificate=_blob(user, "client-certificate", path.parent),
            key=_blob(user, "client-key", path.parent),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
        )
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise BadSettingError(f"KUBECONFIG {path} cannot be used: {error!r}") from error
