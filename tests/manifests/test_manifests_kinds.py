"""The definitions of Tulle's own kinds, and its minimal Gateway API ones: loaded, and judging good and bad objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.api.errors import StatusError
from devcluster.api.kinds import Resource
from devcluster.schema.validate import Validator

ROOT = Path(__file__).resolve().parents[2]
OWN = sorted((ROOT / "manifests" / "crds").glob("*.yaml"))
GATEWAY = sorted((ROOT / "manifests" / "gateway-api").glob("*.yaml"))
Object = dict[str, Any]


@pytest.fixture(scope="module")
def validator() -> Validator:
    """All definitions installed."""
    made = Validator()
    for path in OWN + GATEWAY:
        made.install(yaml.safe_load(path.read_text()))
    return made


def resource_of(kind: str) -> Resource:
    """The row a definition adds."""
    for path in OWN + GATEWAY:
        crd = yaml.safe_load(path.read_text())
        spec = crd["spec"]
        if spec["names"]["kind"] == kind:
            return Resource(
                group=spec["group"],
                version=next(v["name"] for v in spec["versions"] if v["storage"]),
                plural=spec["names"]["plural"],
                kind=kind,
                namespaced=spec["scope"] == "Namespaced",
                definition=crd,
            )
    raise AssertionError(kind)


def judge(validator: Validator, kind: str, spec: Object, name: str = "one") -> Object:
    """Take an object through decoding, defaults and validation, as on admission."""
    resource = resource_of(kind)
    metadata: Object = {"name": name, **({"namespace": "shop"} if resource.namespaced else {})}
    obj: Object = {
        "apiVersion": f"{resource.group}/{resource.version}",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }
    validator.decode(resource, obj)
    validator.default(resource, obj)
    validator.validate(resource, obj)
    return obj


@pytest.mark.parametrize("path", OWN + GATEWAY, ids=lambda path: path.stem)
def test_definition_is_one_an_api_server_takes(validator: Validator, path: Path) -> None:
    """Names, versions, structure and CEL rules of each definition are in order."""
    crd = yaml.safe_load(path.read_text())
    definitions = Resource(
        group="apiextensions.k8s.io", version="v1", plural="customresourcedefinitions", kind="CustomResourceDefinition"
    )
    validator.validate(definitions, crd)


@pytest.mark.parametrize("path", GATEWAY, ids=lambda path: path.stem)
def test_definition_in_a_protected_group_says_it_is_unapproved(path: Path) -> None:
    """A real API server takes no definition of a *.k8s.io group without that annotation."""
    metadata = yaml.safe_load(path.read_text())["metadata"]

    assert metadata["annotations"]["api-approved.kubernetes.io"].startswith("unapproved")


def test_gateway_kinds_have_their_official_names() -> None:
    """Clients find the kinds under the names they know."""
    found = {}
    for path in GATEWAY:
        names = yaml.safe_load(path.read_text())["spec"]["names"]
        found[names["kind"]] = (names["plural"], *names.get("shortNames", []))

    assert found == {
        "HTTPRoute": ("httproutes",),
        "GRPCRoute": ("grpcroutes",),
        "TLSRoute": ("tlsroutes",),
        "TCPRoute": ("tcproutes",),
        "ReferenceGrant": ("referencegrants", "refgrant"),
        "GatewayClass": ("gatewayclasses", "gc"),
        "Gateway": ("gateways", "gtw"),
    }


def test_mesh_defaults_are_filled_in(validator: Validator) -> None:
    """An empty Mesh says what holds."""
    assert judge(validator, "Mesh", {}, "default")["spec"] == {
        "mtls": {"mode": "PERMISSIVE"},
        "outbound": "ALLOW",
        "detectionTimeout": "10s",
        "accessLog": "OFF",
    }


GOOD = [
    ("PeerAuthentication", {"mtls": {"mode": "STRICT"}}),
    (
        "PeerAuthentication",
        {
            "targetRefs": [{"group": "apps", "kind": "Deployment", "name": "web"}],
            "portLevel": [{"port": 1, "mode": "DISABLE"}],
        },
    ),
    ("HTTPRoute", {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}]}),
    ("HTTPRoute", {"rules": [{"backendRefs": [{"name": "web", "port": 80}], "timeouts": {"request": "1m30s"}}]}),
    (
        "HTTPRoute",
        {
            "rules": [
                {
                    "matches": [{"path": {"type": "Exact", "value": "/x"}, "headers": [{"name": "a", "value": "b"}]}],
                    "filters": [
                        {
                            "type": "URLRewrite",
                            "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/"}},
                        }
                    ],
                }
            ]
        },
    ),
    ("GRPCRoute", {"rules": [{"matches": [{"method": {"service": "shop.Cart"}}]}]}),
    ("TLSRoute", {"hostnames": ["a.example.com"], "rules": [{"backendRefs": [{"name": "web", "port": 443}]}]}),
    ("TCPRoute", {"rules": [{"backendRefs": [{"name": "db", "port": 5432}]}]}),
    (
        "ReferenceGrant",
        {"from": [{"group": "", "kind": "Pod", "namespace": "a"}], "to": [{"group": "", "kind": "Service"}]},
    ),
    ("GatewayClass", {"controllerName": "example.com/gateways"}),
    ("Gateway", {"gatewayClassName": "x", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}),
]


@pytest.mark.parametrize(("kind", "spec"), GOOD)
def test_good_object_is_taken(validator: Validator, kind: str, spec: Object) -> None:
    """What the documentation shows is valid."""
    judge(validator, kind, spec)


BAD = [
    ("Mesh", {}, "there is one Mesh"),
    ("PeerAuthentication", {"mtls": {"mode": "MAYBE"}}, "spec.mtls.mode"),
    ("PeerAuthentication", {"targetRefs": [{"kind": "Ingress", "name": "x"}]}, "a policy can target"),
    ("PeerAuthentication", {"portLevel": [{"port": 0, "mode": "STRICT"}]}, "port"),
    ("HTTPRoute", {"rules": [{"backendRefs": [{"name": "web"}]}]}, "a Service needs a port"),
    ("HTTPRoute", {"rules": [{"matches": [{"path": {"value": "x"}}]}]}, "a path begins with /"),
    ("HTTPRoute", {"rules": [{"timeouts": {"request": "soon"}}]}, "request"),
    ("HTTPRoute", {"rules": [{"filters": [{"type": "URLRewrite"}]}]}, "urlRewrite goes with type URLRewrite"),
    ("GRPCRoute", {"rules": [{"matches": [{"method": {}}]}]}, "a service or a method is needed"),
    ("TCPRoute", {"rules": []}, "spec.rules"),
]


@pytest.mark.parametrize(("kind", "spec", "said"), BAD)
def test_bad_object_is_refused_in_a_sentence(validator: Validator, kind: str, spec: Object, said: str) -> None:
    """The API server says what is wrong before the control plane has to."""
    with pytest.raises(StatusError, match=said):
        judge(validator, kind, spec, "second")
