"""TLS contexts of the mesh: TLS 1.3 only, own identity by name, peers checked against the pushed roots and the names they must show.

In: trust domain, ALPN, the identities expected. Out: transport sockets, and the `trust` secret. The certificate itself never
travels: `identity` is a secret each sidecar resolves by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from controlplane.resources.envoy import ADS, make, packed
from meshapi import xds

_TLS = "envoy.extensions.transport_sockets.tls.v3."


def _common(alpn: Sequence[str], names: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {
        # Envoy offers at most TLS 1.2 to upstreams unless told otherwise.
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": list(alpn),
        "tls_certificate_sds_secret_configs": [{"name": xds.IDENTITY}],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": matcher} for matcher in names]
            },
            "validation_context_sds_secret_config": {"name": xds.TRUST_BUNDLE, "sds_config": ADS},
        },
    }


def server(trust_domain: str, alpn: Sequence[str]) -> dict[str, Any]:
    """Terminate mesh TLS: any identity of the trust domain, but always one."""
    context = packed(
        _TLS + "DownstreamTlsContext",
        require_client_certificate={"value": True},
        common_tls_context=_common(alpn, [{"prefix": f"spiffe://{trust_domain}/"}]),
    )
    return {"name": "tls", "typed_config": context}


def client(sni: str, alpn: Sequence[str], identities: Sequence[str], otherwise: str) -> dict[str, Any]:
    """Originate mesh TLS towards some identities; `otherwise` is the prefix accepted while none is known."""
    names = [{"exact": uri} for uri in identities] or [{"prefix": otherwise}]
    context = packed(_TLS + "UpstreamTlsContext", sni=sni, common_tls_context=_common(alpn, names))
    return {"name": "tls", "typed_config": context}


def plaintext() -> dict[str, Any]:
    """No TLS."""
    return {
        "name": "plain",
        "typed_config": packed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"),
    }


def trust(roots: bytes) -> Any:
    """Write the secret with the roots peers are checked against."""
    return make(_TLS + "Secret", name=xds.TRUST_BUNDLE, validation_context={"trusted_ca": {"inline_bytes": roots}})
