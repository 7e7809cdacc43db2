"""Both families: an IPv6-only, a dual-stack and an IPv4-only cluster reach the control plane alike."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace
from typing import Any

import aiohttp
import grpc
import pytest

from controlplane.listening import EVERY, bound, grpc_address
from meshapi.xds import Type
from tests.controlplane.test_app_run import LOCAL, running, shop
from tests.support.adsserver import DeltaClient, names_of
from tests.support.kubeserver import kube_server

LOOPBACKS = ("127.0.0.1", "::1")


@pytest.mark.parametrize("loopback", LOOPBACKS)
async def test_every_port_of_the_control_plane_is_reached_by_either_family(loopback: str) -> None:
    """Its admin port by the kubelet, its webhook by the API server, ADS by sidecars."""
    async with kube_server() as kube:
        shop(kube)
        async with running(kube, replace(LOCAL, host=EVERY)) as mesh:
            host = f"[{loopback}]" if ":" in loopback else loopback
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://{host}:{mesh.app.ports['admin']}/readyz") as answer:
                    assert answer.status == 200
                webhook = f"https://{host}:{mesh.app.ports['webhook']}/"
                async with session.get(webhook, ssl=False) as answer:
                    assert answer.status == 404
            credentials = grpc.ssl_channel_credentials(mesh.app.trust.roots_pem.encode())
            name = (("grpc.ssl_target_name_override", "tulle.tulle-system.svc"),)
            async with grpc.aio.secure_channel(f"{host}:{mesh.app.ports['xds']}", credentials, options=name) as channel:
                assert names_of(await DeltaClient(channel).ask(Type.SECRET, "trust")) == ["trust"]


def test_kernel_without_ipv6_is_served_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled out, or switched off by sysctl."""
    made = socket.create_server

    def off(address: Any, **more: Any) -> socket.socket:
        if more.get("family") == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "cannot assign requested address")
        return made(address, **more)

    monkeypatch.setattr(socket, "create_server", off)
    with bound(EVERY, 0) as one:
        assert one.family == socket.AF_INET


def test_port_that_is_taken_is_refused() -> None:
    """By either family: nobody is told of half a listener."""
    with bound(EVERY, 0) as one, pytest.raises(OSError, match="in use"):
        bound(EVERY, one.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "address"), [("", "[::]:15012"), ("10.0.0.1", "10.0.0.1:15012"), ("fd00::1", "[fd00::1]:15012")]
)
def test_address_is_written_as_grpc_reads_it(host: str, address: str) -> None:
    """An IPv6 address stands in brackets."""
    assert grpc_address(host, 15012) == address
