"""TLS contexts and secrets, from Envoy's messages to nouns.

In: transport sockets and Secret messages. Out: `TlsContext`, `Secret`. Refuses every way of checking a peer it does not carry out: a
check left out is a door left open. Protocol versions are not read: the sidecar speaks TLS 1.3 only.
"""

from __future__ import annotations

from typing import Any

from dataplane.config import Secret, StringMatch, TlsContext, TlsTrust
from dataplane.xds.reading import RefusedError, choice, flag, kind_of, refuse_fields, string_match, unpacked

_UNCHECKED = (
    "verify_certificate_spki",
    "verify_certificate_hash",
    "match_subject_alt_names",
    "require_signed_certificate_timestamp",
    "crl",
    "allow_expired_certificate",
    "trust_chain_verification",
    "custom_validator_config",
    "only_verify_leaf_cert_crl",
    "max_verify_depth",
    "watched_directory",
    "ca_certificate_provider_instance",
    "system_root_certs",
)


def transport_socket(message: Any, where: str) -> TlsContext | None:
    """Read a transport socket; None is plaintext."""
    config = unpacked(message.typed_config, f"{where}: transport socket {message.name}")
    match kind_of(config):
        case "RawBuffer":
            return None
        case "DownstreamTlsContext":
            refuse_fields(config, where, "require_sni", "session_ticket_keys", "session_ticket_keys_sds_secret_config")
            required = flag(config, "require_client_certificate", default=False)
            return _context(config.common_tls_context, where, required=required)
        case "UpstreamTlsContext":
            return _context(config.common_tls_context, where, sni=config.sni)
        case other:
            raise RefusedError(f"{where}: transport socket {other} is not supported")


def _context(common: Any, where: str, *, sni: str = "", required: bool = False) -> TlsContext:
    refuse_fields(
        common,
        where,
        "tls_certificate_provider_instance",
        "tls_certificate_certificate_provider",
        "tls_certificate_certificate_provider_instance",
        "custom_handshaker",
        "custom_tls_certificate_selector",
    )
    certificate, key, secret = b"", b"", ""
    if common.tls_certificates:
        certificate, key = _pair(common.tls_certificates[0], where)
    elif common.tls_certificate_sds_secret_configs:
        secret = common.tls_certificate_sds_secret_configs[0].name
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
            return TlsTrust(trust_secret=common.validation_context_sds_secret_config.name)
        case "combined_validation_context":
            combined = common.combined_validation_context
            name = combined.validation_context_sds_secret_config.name
            return _validation(combined.default_validation_context, where, name)
        case other:
            raise RefusedError(f"{where}: {other} is not supported")


def _validation(context: Any, where: str, secret: str) -> TlsTrust:
    refuse_fields(context, where, *_UNCHECKED)
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
    refuse_fields(certificate, where, "password", "private_key_provider", "pkcs12", "ocsp_staple")
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
