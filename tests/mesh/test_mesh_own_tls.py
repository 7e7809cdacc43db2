"""An app's own TLS through the mesh: a port nobody declared, HTTPS clients as they are, a server in the mesh and one outside it."""

from __future__ import annotations

import base64
import json

import pytest

from tests.support.certs import Authority
from tests.support.cluster import Kube
from tests.support.mesh import ON
from tests.support.objects import container, deployment, pod, service

SERVER = (
    "import http.server,ssl\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    protocol_version='HTTP/1.1'\n"
    "    def do_GET(self):\n"
    "        b=(self.connection.selected_alpn_protocol() or 'none').encode()\n"
    "        self.send_response(200); self.send_header('content-length',str(len(b))); self.end_headers(); self.wfile.write(b)\n"
    "s=http.server.ThreadingHTTPServer(('0.0.0.0',8443),H)\n"
    "c=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain('/tls/tls.crt','/tls/tls.key'); c.set_alpn_protocols(['http/1.1'])\n"
    "s.socket=c.wrap_socket(s.socket,server_side=True)\n"
    "s.serve_forever()\n"
)
"""An HTTPS server that answers with the protocol that was agreed on."""
CLIENT = (
    "import http.client,json,ssl,sys\n"
    "host,offers=sys.argv[1],json.loads(sys.argv[2])\n"
    "c=ssl.create_default_context(cafile='/tls/ca.crt')\n"
    "if offers: c.set_alpn_protocols(offers)\n"
    "h=http.client.HTTPSConnection(host,443,context=c,timeout=10)\n"
    "h.request('GET','/'); print(h.getresponse().read().decode())\n"
)


@pytest.fixture(scope="module", autouse=True)
def pair(shop: Kube) -> None:
    """Two HTTPS servers behind port 443 without a name, one of them in the mesh, and a client in the mesh."""
    authority = Authority("own")
    hosts = tuple(f"{name}.{shop.namespace}.svc.cluster.local" for name in ("meshed", "plain"))
    certificate, key = authority.issue(dns=hosts)
    data = {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.roots}
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    shop.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own"}, "data": encoded})
    mounted = {"volumeMounts": [{"name": "tls", "mountPath": "/tls"}]}
    volumes = [{"name": "tls", "secret": {"secretName": "own"}}]
    ready = {"tcpSocket": {"port": 8443}, "periodSeconds": 1}
    server = container(command=["python", "-c", SERVER], readinessProbe=ready, **mounted)
    for name, word in (("meshed", ON), ("plain", None)):
        shop.apply(
            deployment(name, annotations=word, containers=[server], volumes=volumes),
            service(name, 443, 8443, port_name=""),
        )
        shop("rollout", "status", f"deployment/{name}", "--timeout=60s")
    shop.apply(pod("client", annotations=ON, containers=[container(**mounted)], volumes=volumes))
    shop("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")


@pytest.mark.parametrize("server", ["meshed", "plain"])
@pytest.mark.parametrize("offers", [[], ["http/1.1"], ["h2", "http/1.1"]], ids=["nothing", "http/1.1", "h2 too"])
def test_https_client_in_the_mesh_reaches_a_server_with_tls_of_its_own(
    shop: Kube, server: str, offers: list[str]
) -> None:
    """What the client's hello offers is the server's business: the handshake is between the two, and the certificate the server's own."""
    host = f"{server}.{shop.namespace}.svc.cluster.local"
    said = shop("exec", "client", "-c", "app", "--", "python", "-c", CLIENT, host, json.dumps(offers))

    assert said.strip() == ("http/1.1" if offers else "none")
