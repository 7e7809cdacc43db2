"""TLS contexts and secrets, from Envoy's messages to nouns.

In: transport sockets and Secret messages. Out: `TlsContext`, `Secret`. Refuses every way of checking a peer it does not carry out: a
check left out is a door left open; and whatever ends below TLS 1.3, the only version the sidecar speaks.
"""

from __future__ import annotations

from typing import Any

from dataplane.config import Secret, StringMatch, TlsContext, TlsTrust
from dataplane.xds.reading import RefusedError, choice, flag, from_this_stream, kind_of, string_match, unpacked

_TLS13 = frozenset({"TLS_AUTO", "TLSv1_3"})


def transport_socket(message: Any, where: str) -> TlsContext | None:
    """Read a transport socket; None is plaintext."""
    config = unpacked(message.typed_config, f"{where}: transport socket {message.name}")
    match kind_of(config):
        case "RawBuffer":
            return None
        case "DownstreamTlsContext":
            required = flag(config, "require_client_certificate", default=False)
            return _context(config.common_tls_context, where, required=required)
        case "UpstreamTlsContext":
            return _context(config.common_tls_context, where, sni=config.sni)
        case other:
            raise RefusedError(f"{where}: transport socket {other} is not supported")


def _context(common: Any, where: str, *, sni: str = "", required: bool = False) -> TlsContext:
    if choice(common.tls_params, "tls_maximum_protocol_version", where) not in _TLS13:
        raise RefusedError(f"{where}: TLS ends at 1.3 here, and begins there")
    certificate, key, secret = b"", b"", ""
    if common.tls_certificates:
        certificate, key = _pair(common.tls_certificates[0], where)
    elif common.tls_certificate_sds_secret_configs:
        secret = _named(common.tls_certificate_sds_secret_configs[0], where)
    return TlsContext(
        identity_secret=secret,
        certificate=certificate,
        key=key,
        trust=_trust(common, where),
        alpn=tuple(common.alpn_protocols),
        sni=sni,
        require_client_certificate=required,
    )


def _trust(common: Any, where: str) -> TlsTrust | None:
    match common.WhichOneof("validation_context_type"):
        case None:
            return None
        case "validation_context":
            return _validation(common.validation_context, where, "")
        case "validation_context_sds_secret_config":
            return TlsTrust(trust_secret=_named(common.validation_context_sds_secret_config, where))
        case "combined_validation_context":
            combined = common.combined_validation_context
            name = _named(combined.validation_context_sds_secret_config, where)
            return _validation(combined.default_validation_context, where, name)
        case other:
            raise RefusedError(f"{where}: {other} is not supported")


def _named(config: Any, where: str) -> str:
    """Read where a secret comes from, and its name."""
    from_this_stream(config.sds_config, where)
    return str(config.name)


def _validation(context: Any, where: str, secret: str) -> TlsTrust:
    uris: list[StringMatch] = []
    dns: list[StringMatch] = []
    for one in context.match_typed_subject_alt_names:
        kind = choice(one, "san_type", where)
        if kind not in {"URI", "DNS"}:
            raise RefusedError(f"{where}: subject alternative names of type {kind} are not supported")
        (uris if kind == "URI" else dns).append(string_match(one.matcher, where))
    roots = _data(context.trusted_ca, where) if context.HasField("trusted_ca") else b""
    return TlsTrust(trust_secret=secret, roots=roots, uris=tuple(uris), dns=tuple(dns))


def _pair(certificate: Any, where: str) -> tuple[bytes, bytes]:
    return _data(certificate.certificate_chain, where), _data(certificate.private_key, where)


def _data(source: Any, where: str) -> bytes:
    match source.WhichOneof("specifier"):
        case "inline_bytes":
            return bytes(source.inline_bytes)
        case "inline_string":
            return str(source.inline_string).encode()
        case other:
            raise RefusedError(f"{where}: data must be inline, not by {other or 'nothing'}")


def secret(message: Any) -> Secret:
    """Read a Secret: a trust bundle or, from a file, an identity."""
    where = f"secret {message.name}"
    match message.WhichOneof("type"):
        case "validation_context":
            trust = _validation(message.validation_context, where, "")
            if not trust.roots:
                raise RefusedError(f"{where}: trusted_ca is missing")
            return Secret(name=message.name, roots=trust.roots)
        case "tls_certificate":
            certificate, key = _pair(message.tls_certificate, where)
            return Secret(name=message.name, certificate=certificate, key=key)
        case other:
            raise RefusedError(f"{where}: {other or 'an empty secret'} is not supported")
