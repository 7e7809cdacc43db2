"""TLS contexts from configuration and credentials, and the question who the peer is.

In: `config.TlsContext`, the sidecar's credentials, secrets by name, and the ALPN about to be spoken. Out: a `ServerTls`
or `ClientTls` for one stream. Refuses peers whose certificate does not name whom we want; without a certificate of our
own raises `TlsUnavailableError`. TLS 1.3 only; no session tickets, because a resumed session would accept a client
certificate that has expired. Contexts are made anew when certificate or roots change; old connections live on.
"""

import functools
import os
from collections.abc import Mapping
from typing import Any, Protocol

from dataplane.certificate import moment
from dataplane.config import Secret, StringMatch, TlsContext
from dataplane.net import tls_library
from dataplane.net.tls_engine import TlsEngine, prepare
from dataplane.net.tls_library import Context
from meshapi.patterns import pattern

_KEPT = 256


class TlsUnavailableError(Exception):
    """TLS was asked for, but a certificate or roots are not there (yet), or cannot be used; the message says which."""


class Credentials(Protocol):
    """The identity of the sidecar as it is now; the control plane's secrets `identity` and `trust`."""

    @property
    def certificate_pem(self) -> bytes:
        """The chain, leaf first; empty while there is none."""

    @property
    def key_pem(self) -> bytes:
        """The key of the leaf."""

    @property
    def roots_pem(self) -> bytes:
        """All roots trusted now."""

    @property
    def generation(self) -> int:
        """Rises with every change."""


class NoCredentials:
    """A sidecar without an identity: file configurations bring their own in secrets or inline."""

    certificate_pem = b""
    key_pem = b""
    roots_pem = b""
    generation = 0


class ServerTls:
    """How one accepted stream is to speak TLS, and whom it accepts."""

    __slots__ = ("_dns", "_identity", "_uris", "context", "server_name", "server_side")

    def __init__(self, context: Context, noun: TlsContext) -> None:
        self.context = context
        self.server_side = True
        self.server_name: str | None = None
        self._uris = noun.trust.uris if noun.trust is not None else ()
        self._dns: tuple[StringMatch, ...] = ()
        self._identity = ""

    def begin(self) -> TlsEngine:
        """Make the TLS state of a connection."""
        return TlsEngine(self.context, self.server_side, self.server_name)

    def judge(self, certificate: Mapping[str, Any] | None) -> tuple[str, str]:
        """Name the peer by its URI, and say why it is refused (empty when it is not)."""
        names = certificate.get("subjectAltName", ()) if certificate else ()
        uris = [value for kind, value in names if kind == "URI"]
        found = uris[0] if len(uris) == 1 else ""
        if self._identity and found != self._identity:
            return found, f"the peer is {found or 'nobody'}, expected {self._identity}"
        if self._uris and (not found or not any(matches(match, found) for match in self._uris)):
            return found, f"the peer is {found or 'nobody'}, which is none of the names allowed"
        if self._dns:
            dns = [value for kind, value in names if kind == "DNS"]
            if not any(matches(match, name) for match in self._dns for name in dns):
                return found, f"the peer's certificate is for {', '.join(dns) or 'no host'}, which is not allowed"
        return found, ""


class ClientTls(ServerTls):
    """How one dialled stream is to speak TLS, and whom it wants at the other end."""

    __slots__ = ()

    def __init__(self, context: Context, noun: TlsContext, identity: str) -> None:
        super().__init__(context, noun)
        self.server_side = False
        self.server_name = noun.sni or None
        self._identity = identity
        # A host name checked by the context itself (with its wildcard rules) needs no second look.
        self._dns = () if noun.trust is None or context.check_hostname else noun.trust.dns


class TlsContexts:
    """All contexts in use, each made once for the certificates it rests on."""

    __slots__ = ("_made", "credentials", "secrets")

    def __init__(self, credentials: Credentials | None = None, secrets: Mapping[str, Secret] | None = None) -> None:
        self.credentials: Credentials = credentials or NoCredentials()
        self.secrets: Mapping[str, Secret] = secrets or {}
        """Of the configuration in force; replaced when it changes."""
        self._made: dict[tuple[object, ...], Context] = {}

    def server(self, noun: TlsContext, alpn: tuple[str, ...] = ()) -> ServerTls:
        """Return the setup of an accepted connection; `alpn` is what may be spoken, where that is not what the noun says."""
        chain, key, roots = self._material(noun)
        if not chain:
            raise TlsUnavailableError(f"there is no certificate {noun.identity_secret!r} yet")
        if noun.require_client_certificate and not roots:
            raise TlsUnavailableError("there are no roots to check client certificates with yet")
        wanted = (True, noun.require_client_certificate, alpn or noun.alpn, chain, key, roots)
        return ServerTls(self._context(wanted), noun)

    def client(self, noun: TlsContext, alpn: tuple[str, ...] = (), identity: str = "") -> ClientTls:
        """Return the setup of a dialled connection; `alpn` is what is about to be spoken, `identity` the URI expected."""
        chain, key, roots = self._material(noun)
        if noun.identity_secret and not chain:
            raise TlsUnavailableError(f"there is no certificate {noun.identity_secret!r} yet")
        if noun.trust is not None and not roots:
            raise TlsUnavailableError(f"there are no roots {noun.trust.trust_secret!r} yet")
        host = bool(noun.sni and noun.trust and any(m.exact == noun.sni and not m.invert for m in noun.trust.dns))
        wanted = (False, host, alpn or noun.alpn, chain, key, roots)
        return ClientTls(self._context(wanted), noun, identity)

    def _material(self, noun: TlsContext) -> tuple[bytes, bytes, bytes]:
        """Find certificate, key and roots: inline, in a named secret, or the sidecar's own."""
        chain, key, roots = noun.certificate, noun.key, b""
        if noun.identity_secret:
            secret = self.secrets.get(noun.identity_secret)
            if secret is not None and secret.certificate:
                chain, key = secret.certificate, secret.key
            else:
                chain, key = self.credentials.certificate_pem, self.credentials.key_pem
        if noun.trust is not None:
            roots = noun.trust.roots
            if noun.trust.trust_secret:
                secret = self.secrets.get(noun.trust.trust_secret)
                roots = secret.roots if secret is not None and secret.roots else self.credentials.roots_pem
        return chain, key, roots

    def _context(self, wanted: tuple[Any, ...]) -> Context:
        """Return what was made of this, or make it."""
        found = self._made.get(wanted)
        if found is None:
            try:
                found = self._make_server(wanted) if wanted[0] else self._make_client(wanted)
            except (tls_library.SSLError, ValueError) as problem:
                raise TlsUnavailableError(f"its certificate, key or roots cannot be used: {problem}") from None
        return found

    def _make_server(self, wanted: tuple[Any, ...]) -> Context:
        _, required, _, _, _, roots = wanted
        context = Context(tls_library.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0
        context.verify_mode = tls_library.CERT_REQUIRED if required else tls_library.CERT_NONE
        if roots:
            context.load_verify_locations(cadata=roots.decode("ascii"))
        return self._keep(context, wanted)

    def _make_client(self, wanted: tuple[Any, ...]) -> Context:
        _, host, _, _, _, roots = wanted
        context = Context(tls_library.PROTOCOL_TLS_CLIENT)
        context.check_hostname = host
        if roots:
            context.load_verify_locations(cadata=roots.decode("ascii"))
        else:
            # A configuration without trust asks for encryption alone (Envoy's meaning of an absent validation context).
            context.verify_mode = tls_library.CERT_NONE
        return self._keep(context, wanted)

    def _keep(self, context: Context, wanted: tuple[Any, ...]) -> Context:
        _, _, alpn, chain, key, _ = wanted
        context.minimum_version = tls_library.TLS13
        prepare(context)
        if alpn:
            tls_library.offer(context, alpn)
        if chain:
            load_chain(context, chain, key)
        if len(self._made) >= _KEPT:
            self._made.clear()
        self._made[wanted] = context
        return context


def load_chain(context: Context, chain: bytes, key: bytes) -> None:
    """Give a context its certificate without the key touching a disk: `ssl` reads files only, so a memfd is one."""
    fd = os.memfd_create("tulle-identity", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(key + b"\n" + chain)
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


@functools.lru_cache(_KEPT)
def ends_at(not_after: str) -> float:
    """Return when a certificate ends, seconds since the epoch, by what the library says of it. Peers show the same again and again."""
    return moment(not_after)


def matches(match: StringMatch, value: str) -> bool:
    """Tell whether a name is what a match asks for."""
    text = value.lower() if match.ignore_case else value

    def same(wanted: str | None) -> str | None:
        return wanted.lower() if wanted is not None and match.ignore_case else wanted

    exact, prefix, suffix, contains = same(match.exact), same(match.prefix), same(match.suffix), same(match.contains)
    if exact is not None:
        found = text == exact
    elif prefix is not None:
        found = text.startswith(prefix)
    elif suffix is not None:
        found = text.endswith(suffix)
    elif contains is not None:
        found = contains in text
    elif match.regex is not None:
        found = pattern(match.regex).matches(value.encode())
    else:
        found = match.present
    return found is not match.invert
