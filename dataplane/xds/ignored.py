"""Fields of Envoy's messages that the sidecar passes over, each with the reason why that is harmless.

Whatever else is set and not read is refused (`decode`). In: nothing. Out: a table by the field's full name, which is in
docs/xds-contract.md as well (`make reference` writes it there).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dataplane.xds.watched import NEWER

_CORE = "envoy.config.core.v3."
_LISTENER = "envoy.config.listener.v3.Listener."
_FILTERS = "envoy.extensions.filters."
_HCM = _FILTERS + "network.http_connection_manager.v3.HttpConnectionManager."
_TLS = "envoy.extensions.transport_sockets.tls.v3."

_ALWAYS = "always so here"
_BUFFERS = "buffers and windows are bounded by what the sidecar may have (docs/flow-control.md)"
_LABEL = "only a name: the type says what it is"
_METADATA = "facts for extensions; none of them runs here"
_STATISTICS = "names a statistic; the sidecar's metrics have names and labels of their own"
_STREAM_ERRORS = "always so here: a broken message of HTTP/2 ends its stream, not the connection"

IGNORED: Final[Mapping[str, str]] = {
    NEWER: "have numbers and no names here; what a sidecar reads its node says, and a newer control plane writes no more",
    "envoy.config.cluster.v3.Cluster.alt_stat_name": _STATISTICS,
    "envoy.config.cluster.v3.Cluster.per_connection_buffer_limit_bytes": _BUFFERS,
    "envoy.config.endpoint.v3.LocalityLbEndpoints.load_balancing_weight": "counts only with `locality_weighted_lb_config`, which is refused",
    _CORE + "ConfigSource.initial_fetch_timeout": "how long a destination is waited for is the sidecar's own bound",
    _CORE + "Http1ProtocolOptions.accept_http_10": _ALWAYS,
    _CORE + "Http1ProtocolOptions.default_host_for_http_10": "a request without a host gets the address its client connected to",
    _CORE + "Http1ProtocolOptions.enable_trailers": _ALWAYS,
    _CORE + "Http2ProtocolOptions.allow_connect": _ALWAYS,
    _CORE + "Http2ProtocolOptions.initial_connection_window_size": _BUFFERS,
    _CORE + "Http2ProtocolOptions.initial_stream_window_size": _BUFFERS,
    _CORE + "Http2ProtocolOptions.override_stream_error_on_invalid_http_message": _STREAM_ERRORS,
    _CORE + "Metadata.typed_filter_metadata": _METADATA,
    _CORE + "RuntimeFractionalPercent.runtime_key": "there is no runtime to override it; the default holds",
    _CORE + "TypedExtensionConfig.name": _LABEL,
    _LISTENER + "continue_on_listener_filters_timeout": "always so here: a silent connection goes on without a detected protocol",
    _LISTENER + "per_connection_buffer_limit_bytes": _BUFFERS,
    _LISTENER + "stat_prefix": _STATISTICS,
    "envoy.config.route.v3.Route.stat_prefix": _STATISTICS,
    "envoy.config.route.v3.RouteConfiguration.validate_clusters": "a cluster that is missing is answered when a request asks for it",
    "envoy.config.route.v3.RetryPolicy.host_selection_retry_max_attempts": "an endpoint not tried before is chosen at once, not by trial",
    _FILTERS + "http.router.v3.Router.suppress_envoy_headers": _ALWAYS,
    _FILTERS + "network.rbac.v3.RBAC.stat_prefix": _STATISTICS,
    _FILTERS + "network.tcp_proxy.v3.TcpProxy.stat_prefix": _STATISTICS,
    _HCM + "delayed_close_timeout": "how long a connection that is closed is still read is the sidecar's own bound",
    _HCM + "preserve_external_request_id": _ALWAYS,
    _HCM + "proxy_100_continue": _ALWAYS,
    _HCM + "stat_prefix": _STATISTICS,
    _HCM + "stream_error_on_invalid_http_message": _STREAM_ERRORS,
    _TLS + "DownstreamTlsContext.disable_stateful_session_resumption": _ALWAYS,
    _TLS + "DownstreamTlsContext.disable_stateless_session_resumption": _ALWAYS,
    _TLS + "TlsParameters.tls_minimum_protocol_version": "TLS begins at 1.3 here, whatever the least is",
    "envoy.type.matcher.v3.RegexMatcher.google_re2": "the only engine there is",
}  # fmt: skip
"""By full name; what is not read of them is not looked into."""
