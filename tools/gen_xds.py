"""Write meshapi/descriptors.binpb: Envoy's v3 messages and ca.proto as one pruned, compressed descriptor set.

Run by `make protos` with the Python of a venv that holds xds-protos and grpcio-tools and nothing of ours: installed
beside OpenTelemetry those two break each other, which is why the runtime uses a private pool instead.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import zlib
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent.parent
ROOTS = [
    "envoy.service.discovery.v3.ads",
    "envoy.service.discovery.v3.discovery",
    "envoy.config.listener.v3.listener",
    "envoy.config.route.v3.route",
    "envoy.config.cluster.v3.cluster",
    "envoy.config.endpoint.v3.endpoint",
    "envoy.config.bootstrap.v3.bootstrap",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager",
    "envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy",
    "envoy.extensions.filters.network.rbac.v3.rbac",
    "envoy.extensions.filters.http.router.v3.router",
    "envoy.extensions.filters.http.rbac.v3.rbac",
    "envoy.extensions.filters.http.fault.v3.fault",
    "envoy.extensions.filters.http.jwt_authn.v3.config",
    "envoy.extensions.filters.http.local_ratelimit.v3.local_rate_limit",
    "envoy.extensions.filters.listener.original_dst.v3.original_dst",
    "envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector",
    "envoy.extensions.filters.listener.http_inspector.v3.http_inspector",
    "envoy.extensions.transport_sockets.tls.v3.tls",
    "envoy.extensions.transport_sockets.tls.v3.secret",
    "envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer",
    "envoy.extensions.upstreams.http.v3.http_protocol_options",
    "envoy.extensions.load_balancing_policies.round_robin.v3.round_robin",
    "envoy.extensions.load_balancing_policies.least_request.v3.least_request",
    "envoy.extensions.load_balancing_policies.ring_hash.v3.ring_hash",
    "envoy.extensions.load_balancing_policies.maglev.v3.maglev",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts",
    "envoy.extensions.access_loggers.file.v3.file",
    "envoy.extensions.access_loggers.stream.v3.stream",
]


def _collect(descriptor: object, files: dict[str, bytes]) -> None:
    """Add a file descriptor after everything it depends on."""
    for dependency in descriptor.dependencies:  # type: ignore[attr-defined]
        _collect(dependency, files)
    files.setdefault(descriptor.name, descriptor.serialized_pb)  # type: ignore[attr-defined]


def _own() -> descriptor_pb2.FileDescriptorProto:
    """Compile ca.proto and return its descriptor."""
    with tempfile.NamedTemporaryFile(suffix=".binpb") as out:
        if protoc.main(["protoc", f"-I{HERE / 'meshapi'}", f"--descriptor_set_out={out.name}", "ca.proto"]):
            sys.exit("meshapi/ca.proto does not compile; see the message above")
        return descriptor_pb2.FileDescriptorSet.FromString(Path(out.name).read_bytes()).file[0]


def main() -> None:
    """Collect, prune and write."""
    files: dict[str, bytes] = {}
    for root in ROOTS:
        _collect(importlib.import_module(root + "_pb2").DESCRIPTOR, files)
    result = descriptor_pb2.FileDescriptorSet()
    for raw in files.values():
        proto = descriptor_pb2.FileDescriptorProto.FromString(raw)
        proto.ClearField("source_code_info")
        result.file.append(proto)
    result.file.append(_own())
    target = HERE / "meshapi" / "descriptors.binpb"
    target.write_bytes(zlib.compress(result.SerializeToString(deterministic=True), 9))
    print(f"{target}: {len(result.file)} files, {target.stat().st_size} bytes")


main()
