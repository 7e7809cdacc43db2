"""Bad input to the control plane of a running mesh: answered, logged once with what and where, and nothing else disturbed."""

from __future__ import annotations

import json
import queue
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meshapi import protos, xds
from meshapi.xds import Type
from tests.support.cluster import KUBECTL, Kube
from tests.support.mesh import ON, SYSTEM, Mesh, ask, bring_pair
from tests.support.objects import pod
from tests.support.rawbytes import send
from tulle.demo.forward import forwarded

GARBAGE = (
    b"\x00\xff" * 500,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200,
    b"GET / HT",
    b"POST /inject HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n{",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff",
)


@pytest.fixture(scope="module", autouse=True)
def pair(shop: Kube) -> None:
    """A server and a client in the mesh, and a stranger."""
    bring_pair(shop, "stranger")
    shop("create", "serviceaccount", "somebody")


@pytest.fixture(autouse=True)
def nothing_else_is_disturbed(shop: Kube, mesh: Mesh) -> Iterator[None]:
    """After each test traffic flows, pods are injected, the log has no traceback, and the control plane has not restarted."""
    yield
    assert ask(shop, "client", "http://server/")[0][0] == 200
    shop("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod("probe", annotations=ON)))
    assert "Traceback" not in mesh.control_plane_log()
    (running,) = mesh.system.get("pods", "-l", "app.kubernetes.io/name=tulle")["items"]
    assert running["status"]["containerStatuses"][0]["restartCount"] == 0


@contextmanager
def control_plane(mesh: Mesh, port: int) -> Iterator[str]:
    """Give `host:port` that leads to a port of the control plane."""
    command = [KUBECTL, "--kubeconfig", str(mesh.kubeconfig), "-n", SYSTEM, "port-forward", "deploy/tulle", f":{port}"]
    with forwarded(command) as url:
        yield url.removeprefix("http://")


@contextmanager
def channel(mesh: Mesh) -> Iterator[grpc.Channel]:
    """Give a channel to the control plane, verified by the mesh's roots."""
    roots = "".join(mesh.system.get("configmap", "tulle-trust")["data"].values()).encode()
    options = (("grpc.ssl_target_name_override", f"tulle.{SYSTEM}.svc"),)
    with (
        control_plane(mesh, 15012) as where,
        grpc.secure_channel(where, grpc.ssl_channel_credentials(roots), options=options) as made,
    ):
        yield made


def token(shop: Kube, name: str, account: str = "default", audience: str = "tulle-ca") -> str:
    """A token as the kubelet projects it: for the audience, bound to a pod."""
    bound = ["--bound-object-kind=Pod", f"--bound-object-name={name}"]
    return shop("create", "token", account, f"--audience={audience}", *bound).strip()


def signing_request(shop: Kube, account: str) -> bytes:
    """A CSR for an account of the shop."""
    name = x509.UniformResourceIdentifier(f"spiffe://cluster.local/ns/{shop.namespace}/sa/{account}")
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def issue(mesh: Mesh, csr: bytes, name: str, bearer: str) -> Any:
    """Ask for a certificate."""
    raw = protos.message("tulle.ca.v1.CertificateRequest")(csr=csr, pod=name).SerializeToString()
    with channel(mesh) as made:
        return made.unary_unary(xds.CA_ISSUE)(raw, metadata=(("authorization", f"Bearer {bearer}"),), timeout=10)


def logged(mesh: Mesh, before: str, *words: str) -> list[str]:
    """Lines the control plane wrote since then with all these words."""
    fresh = mesh.control_plane_log().removeprefix(before)
    return [line for line in fresh.splitlines() if all(word in line for word in words)]


@pytest.mark.parametrize("port", [15012, 15014, 15017])
def test_garbage_on_the_control_planes_ports_disturbs_nothing(shop: Kube, mesh: Mesh, port: int) -> None:
    """Random bytes, half a handshake, half a request: each connection ends by itself."""
    (running,) = mesh.system.get("pods", "-l", "app.kubernetes.io/name=tulle")["items"]
    for data in GARBAGE:
        send(shop, "stranger", running["status"]["podIP"], port, data)


def test_own_certificate_is_issued_and_somebody_elses_refused(shop: Kube, mesh: Mesh) -> None:
    """The CSR's name must be that of the token's account."""
    mine = token(shop, "stranger")
    assert issue(mesh, signing_request(shop, "default"), "stranger", mine)
    before = mesh.control_plane_log()
    with pytest.raises(grpc.RpcError) as refused:
        issue(mesh, signing_request(shop, "somebody"), "stranger", mine)

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "/sa/somebody" in refused.value.details()
    assert len(logged(mesh, before, "certificate refused", "/sa/somebody")) == 1


@pytest.mark.parametrize("case", ["foreign", "for the API", "of a pod that is gone"])
def test_token_that_is_not_good_is_refused_and_logged_once(shop: Kube, mesh: Mesh, case: str) -> None:
    """Signed by nobody, meant for another audience, or bound to a pod that is gone."""
    if case == "foreign":
        bearer = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6eDp5In0."
    elif case == "for the API":
        bearer = token(shop, "stranger", audience="https://kubernetes.default.svc")
    else:
        shop.apply(pod("short"))
        bearer = token(shop, "short")
        shop("delete", "pod", "short", "--wait=true")
    before = mesh.control_plane_log()
    with pytest.raises(grpc.RpcError) as refused:
        issue(mesh, signing_request(shop, "default"), "stranger", bearer)

    wanted = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
    assert refused.value.code() in wanted, refused.value.details()
    assert len(logged(mesh, before, "certificate refused")) == 1
    assert bearer not in mesh.control_plane_log()


def test_refused_resource_is_logged_once_and_shown(shop: Kube, mesh: Mesh) -> None:
    """What a sidecar cannot use is told with what and where by the log, `tulle proxy-status` and `tulle check`."""
    name, sentence = f"{shop.namespace}/server:80", "lb_policy is odd"
    before = mesh.control_plane_log()
    with channel(mesh) as made, refusing(made, shop, name, sentence):
        shop.until(lambda: logged(mesh, before, sentence), 10, "the line")
        proxies = mesh.proxies(shop.namespace)
        (stranger,) = [one for one in proxies if one["pod"] == "stranger"]
        table = mesh.tulle("proxy-status", "-n", shop.namespace).stdout
        check = mesh.tulle("check", check=False)

    assert sentence in json.dumps(stranger["resources"])
    assert any("stranger" in line and "REFUSED" in line and sentence in line for line in table.splitlines())
    assert check.returncode == 1
    assert f"{shop.namespace}/stranger" in check.stdout
    assert len(logged(mesh, before, sentence, f"{shop.namespace}/stranger", name)) == 1
    shop.until(lambda: mesh.tulle("check", check=False).returncode == 0, 20, "a mesh that is well again")


@contextmanager
def refusing(made: grpc.Channel, shop: Kube, name: str, sentence: str) -> Iterator[None]:
    """Speak delta ADS for the stranger, and refuse a cluster."""
    kind = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
    url = Type.CLUSTER.url
    node = {"id": f"stranger.{shop.namespace}"}
    first = protos.from_dict(kind, {"node": node, "type_url": url, "resource_names_subscribe": [name]})
    said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    said.put(first.SerializeToString())
    bearer = (("authorization", f"Bearer {token(shop, 'stranger')}"),)
    call = made.stream_stream(xds.ADS_DELTA)(iter(said.get, b""), metadata=bearer, timeout=60)
    answer = protos.message("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(next(call))
    assert [one.name for one in answer.resources] == [name]
    detail = {"code": 3, "message": sentence}
    nack = {"type_url": url, "response_nonce": answer.nonce, "error_detail": detail}
    said.put(protos.from_dict(kind, nack).SerializeToString())
    try:
        yield
    finally:
        call.cancel()
        said.put(b"")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("inject", b'{"apiVersion": "admission.k8s.io/v1", "kind": '),
        ("workload", b"[]"),
        ("validate", b"\xff\xfe\x00"),
        ("inject", b'{"request": {"uid": "1", "object": 7}}'),
    ],
)
def test_broken_review_is_answered_400_and_logged_once(mesh: Mesh, path: str, body: bytes) -> None:
    """No JSON, no review, no text, no object."""
    before = mesh.control_plane_log()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with control_plane(mesh, 15017) as where, pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(urllib.request.Request(f"https://{where}/{path}", body), timeout=10, context=context)
    with answer.value as error:
        assert error.code == 400
        assert error.read()

    assert len(logged(mesh, before, f"webhook /{path}")) == 1
