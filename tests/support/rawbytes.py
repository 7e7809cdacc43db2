"""Bytes no client library would send, from a pod to wherever it can reach."""

from __future__ import annotations

from tests.support.cluster import Kube

_SEND = (
    "import socket,sys\n"
    "out=b''\n"
    "try:\n"
    "  s=socket.create_connection((sys.argv[1],int(sys.argv[2])),5); s.settimeout(5)\n"
    "  s.sendall(bytes.fromhex(sys.stdin.read())); s.shutdown(socket.SHUT_WR)\n"
    "  while (d:=s.recv(65536)): out+=d\n"
    "except OSError: pass\n"
    "print(out.decode('latin-1'))\n"
)


def send(kube: Kube, who: str, host: str, port: int, data: bytes) -> str:
    """Send raw bytes from a pod's app and return what came back."""
    command = ["exec", "-i", who, "-c", "app", "--", "python", "-c", _SEND, host, str(port)]
    return kube(*command, stdin=data.hex())
