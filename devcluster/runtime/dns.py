"""Cluster DNS: names of Services and Pods, answered from the registry as it is at that moment.

In: queries over UDP and TCP on the node's port 53, where the kube-dns Service leads. Out: A, SRV and CNAME records; a known name has no
AAAA records here and says so with an empty answer. Names outside the cluster do not exist, and that is said at once. What is not a
query is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry

DOMAIN: Final = "cluster.local"
_A, _CNAME, _SRV, _ANY = 1, 5, 33, 255
_TTL: Final = 5
_NOERROR, _FORMAT, _NXDOMAIN, _NOTIMP = 0, 1, 3, 4
_UDP_LIMIT: Final = 1232
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an answer."""

    name: str
    kind: int
    data: bytes


def encode_name(name: str) -> bytes:
    """Encode a domain name."""
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def answer(query: bytes, zone: Zone, *, limit: int = 65535) -> bytes | None:
    """Answer one query; None when it is none."""
    if len(query) < 12:
        return None
    number, flags, questions = struct.unpack_from(">HHH", query)
    if flags & 0x8000:
        return None
    recursion = flags & 0x0100
    if questions != 1 or (flags >> 11) & 0xF:
        return struct.pack(">HHHHHH", number, 0x8000 | recursion | _NOTIMP, 0, 0, 0, 0)
    try:
        name, end = _read_name(query, 12)
        kind = struct.unpack_from(">H", query, end)[0]
    except (struct.error, IndexError, UnicodeDecodeError):
        return struct.pack(">HHHHHH", number, 0x8000 | recursion | _FORMAT, 0, 0, 0, 0)
    found = zone.find(name.lower())
    code = _NXDOMAIN if found is None else _NOERROR
    records = [r for r in found or () if kind in {r.kind, _ANY} or r.kind == _CNAME]
    body = b"".join(
        (b"\xc0\x0c" if r.name == name.lower() else encode_name(r.name))
        + struct.pack(">HHIH", r.kind, 1, _TTL, len(r.data))
        + r.data
        for r in records
    )
    question = query[12 : end + 4]
    flags = 0x8480 | recursion | code
    if 12 + len(question) + len(body) > limit:
        return struct.pack(">HHHHHH", number, flags | 0x0200, 1, 0, 0, 0) + question
    return struct.pack(">HHHHHH", number, flags, 1, len(records), 0, 0) + question + body


def _read_name(packet: bytes, at: int) -> tuple[str, int]:
    parts = []
    while length := packet[at]:
        if length > 63:
            raise IndexError
        parts.append(packet[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return ".".join(parts), at + 1


class Zone:
    """The names of the cluster."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def find(self, name: str) -> list[Record] | None:
        """Give the records of a name; None when there is no such name."""
        if not name.endswith("." + DOMAIN):
            return None
        parts = name.removesuffix("." + DOMAIN).split(".")
        if len(parts) == 3 and parts[2] == "pod":
            return self._pod(name, parts[0])
        if len(parts) < 3 or parts[-1] != "svc":
            return None
        *prefix, service_name, namespace, _ = parts
        try:
            service = self._registry.get("services", namespace, service_name)
        except StatusError:
            return None
        own = f"{service_name}.{namespace}.svc.{DOMAIN}"
        if len(prefix) == 2 and prefix[0].startswith("_"):
            return self._ports(name, own, service, prefix[0][1:], prefix[1][1:])
        if len(prefix) == 1:
            hosts = [(h, a) for h, a in self._endpoints(service) if h == prefix[0]]
            return _addresses(name, [a for _, a in hosts]) if hosts else None
        if prefix:
            return None
        return self._service(name, service)

    def _service(self, name: str, service: Object) -> list[Record]:
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return [Record(name, _CNAME, encode_name(spec["externalName"]))]
        if spec.get("clusterIP", "None") != "None":
            return _addresses(name, [spec["clusterIP"]])
        return _addresses(name, [address for _, address in self._endpoints(service)])

    def _ports(self, name: str, own: str, service: Object, port_name: str, protocol: str) -> list[Record] | None:
        spec = service["spec"]
        ports = [
            p
            for p in spec.get("ports") or []
            if p.get("name", "") == port_name and p.get("protocol", "TCP").lower() == protocol
        ]
        if not ports:
            return None
        headless = spec.get("clusterIP", "None") == "None"
        hosts = [f"{host}.{own}" for host, _ in self._endpoints(service)] if headless else [own]
        number = ports[0]["port"]
        return [Record(name, _SRV, struct.pack(">HHH", 0, 100, number) + encode_name(host)) for host in hosts]

    def _endpoints(self, service: Object) -> Iterator[tuple[str, str]]:
        metadata = service["metadata"]
        label = f"kubernetes.io/service-name={metadata['name']}"
        for piece in self._registry.list("endpointslices.discovery.k8s.io", metadata["namespace"], labels=label):
            for endpoint in piece.get("endpoints") or []:
                if (endpoint.get("conditions") or {}).get("ready", True):
                    address = endpoint["addresses"][0]
                    yield endpoint.get("hostname") or address.replace(".", "-"), address

    @staticmethod
    def _pod(name: str, dashed: str) -> list[Record] | None:
        try:
            address = ipaddress.IPv4Address(dashed.replace("-", "."))
        except ValueError:
            return None
        return [Record(name, _A, address.packed)]


def _addresses(name: str, addresses: list[str]) -> list[Record]:
    return [Record(name, _A, ipaddress.IPv4Address(a).packed) for a in addresses if ":" not in a]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, address: tuple[str | Any, int]) -> None:
        said = answer(data, self._zone, limit=_UDP_LIMIT)
        if said is not None and self._transport is not None:
            self._transport.sendto(said, address)


async def serve(registry: Registry, address: str, port: int = 53) -> None:
    """Answer on an address until cancelled."""
    zone = Zone(registry)

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                (length,) = struct.unpack(">H", await reader.readexactly(2))
                said = answer(await reader.readexactly(length), zone)
                if said is None:
                    break
                writer.write(struct.pack(">H", len(said)) + said)
                await writer.drain()
        writer.close()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(zone), local_addr=(address, port))
    try:
        server = await asyncio.start_server(stream, address, port)
        async with server:
            await server.serve_forever()
    finally:
        transport.close()
