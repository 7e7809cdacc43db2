"""Which mTLS mode holds where, and endpoints and pods as that makes them."""

from __future__ import annotations

import pytest

from controlplane.compiler.passes import compile_mesh
from controlplane.compiler.snapshot import MeshSnapshot
from controlplane.ingest.assemble import ingest
from controlplane.model.meta import Key
from controlplane.model.security import Mode
from controlplane.model.services import Protocol
from tests.support.meshobjects import HTTP, Object, endpoint, endpoint_slice, peer_authentication, pod, service, shop

API_1 = Key("shop", "api-1")


def compiled(*more: Object) -> MeshSnapshot:
    objects = shop()
    objects.apply(*more)
    made = compile_mesh(ingest(objects))
    assert made.problems() == []
    return made


def mesh(mode: str) -> Object:
    return {"kind": "Mesh", "metadata": {"name": "default"}, "spec": {"mtls": {"mode": mode}}}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([], Mode.PERMISSIVE),
        ([mesh("STRICT")], Mode.STRICT),
        ([mesh("STRICT"), peer_authentication("ns", "DISABLE")], Mode.DISABLE),
        ([peer_authentication("ns", "STRICT"), peer_authentication("one", "UNSET", ("", "Service", "api"))], Mode.STRICT),
        ([peer_authentication("ns", "STRICT"), peer_authentication("one", "PERMISSIVE", ("", "Service", "api"))], Mode.PERMISSIVE),
        ([peer_authentication("one", "STRICT", ("", "ServiceAccount", "api"))], Mode.STRICT),
        ([peer_authentication("one", "STRICT", ("", "Pod", "api-1"))], Mode.STRICT),
        ([peer_authentication("one", "STRICT", ("", "Service", "web"))], Mode.PERMISSIVE),
        ([peer_authentication("elsewhere", "STRICT", namespace="other")], Mode.PERMISSIVE),
        (
            [
                peer_authentication("new", "STRICT", created="2026-02-01T00:00:00Z"),
                peer_authentication("old", "DISABLE"),
            ],
            Mode.DISABLE,
        ),
    ],
)  # fmt: skip
def test_nearest_policy_decides(policies: list[Object], expected: Mode) -> None:
    """Target before namespace before mesh; the oldest of equals."""
    assert compiled(*policies).pods[API_1].policy.mode is expected


def test_policy_for_a_deployment_finds_its_pods() -> None:
    """By the owner users know."""
    owner = {"kind": "ReplicaSet", "name": "api-5d", "controller": True}
    replica = pod("api-1", "10.0.0.2", labels={"pod-template-hash": "5d"}, ownerReferences=[owner])
    snapshot = compiled(replica, peer_authentication("one", "STRICT", ("apps", "Deployment", "api")))

    assert snapshot.pods[API_1].policy.mode is Mode.STRICT


def test_port_has_its_own_mode() -> None:
    """A nearer policy with a mode speaks for all ports but those it names."""
    wide = peer_authentication("ns", "STRICT", ports=[{"port": 9090, "mode": "DISABLE"}])
    near = peer_authentication("one", "UNSET", ("", "Service", "api"), ports=[{"port": 8080, "mode": "PERMISSIVE"}])
    policy = compiled(wide, near).pods[API_1].policy

    assert (policy.at(8080), policy.at(9090), policy.at(1)) == (Mode.PERMISSIVE, Mode.DISABLE, Mode.STRICT)
    overruled = peer_authentication("one", "PERMISSIVE", ("", "Service", "api"))
    assert compiled(wide, overruled).pods[API_1].policy.at(9090) is Mode.PERMISSIVE


def test_endpoint_without_mesh_tls_has_no_identity() -> None:
    """DISABLE, or a port the sidecar does not capture, is called in plaintext."""
    assert compiled().services[Key("shop", "api")].ports[80].endpoints[0].mesh
    off = compiled(peer_authentication("off", "DISABLE")).services[Key("shop", "api")].ports[80]
    assert [(e.mesh, e.identity) for e in off.endpoints] == [(False, ""), (False, "")]
    assert off.identities == ()

    uncaptured = pod("api-1", "10.0.0.2", annotations={"tulle.dev/exclude-inbound-ports": "8080"})
    assert not compiled(uncaptured).services[Key("shop", "api")].ports[80].endpoints[0].mesh


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (("apps", "Deployment", "typo"), False),
        (("apps", "StatefulSet", "api"), False),
        (("batch", "CronJob", "nightly"), False),
        (("", "ServiceAccount", "nobody"), False),
        (("", "Pod", "api-9"), False),
        (("", "ServiceAccount", "api"), True),
        (("", "Pod", "api-1"), True),
        (("", "Service", "api"), True),
    ],
)
def test_policy_for_what_is_not_there_is_not_in_force(target: tuple[str, str, str], found: bool) -> None:
    """A name mistyped protects nothing, and its policy says so."""
    (told,) = compiled(peer_authentication("one", "PERMISSIVE", target)).policy_statuses[Key("shop", "one")]

    assert (told.status, told.reason) == ((True, "Accepted") if found else (False, "TargetNotFound"))
    assert found or (target[2] in told.message and "waits" in told.message)


BARE = pod("bare-1", "10.0.0.7", mesh=False)


@pytest.mark.parametrize(
    ("policies", "told"),
    [
        ([peer_authentication("ns", "STRICT")], {"ns": ["api-2", "bare-1"]}),
        ([peer_authentication("one", "STRICT", ("", "Pod", "bare-1"))], {"one": ["bare-1"]}),
        ([peer_authentication("one", "STRICT", ("", "Pod", "api-1"))], {}),
        ([peer_authentication("ns", "PERMISSIVE")], {}),
        ([peer_authentication("ns", "STRICT", namespace="other")], {}),
        ([mesh("STRICT")], {"default": ["shop/api-2", "shop/bare-1"]}),
        ([mesh("STRICT"), peer_authentication("ns", "PERMISSIVE")], {}),
        (
            [peer_authentication("ns", "STRICT"), peer_authentication("one", "PERMISSIVE", ("", "Pod", "bare-1"))],
            {"ns": ["api-2"]},
        ),
    ],
)
def test_strict_policy_names_the_pods_it_cannot_protect(policies: list[Object], told: dict[str, list[str]]) -> None:
    """A pod without a sidecar takes plaintext from anybody, whatever a policy says; those that have ended do not count."""
    ended = pod("done-1", "10.0.0.8", mesh=False) | {"status": {"phase": "Succeeded", "podIP": "10.0.0.8"}}
    elsewhere = pod("far-1", "10.0.0.9", mesh=False, namespace="no-mesh")
    statuses = compiled(BARE, ended, elsewhere, *policies).policy_statuses
    found = {
        key.name: one.message for key, conditions in statuses.items() for one in conditions if one.type == "Bypassed"
    }

    assert found.keys() == told.keys()
    for name, pods in told.items():
        assert f"without a sidecar: {', '.join(pods)}" in found[name]


def test_policies_are_told_whether_they_are_in_force() -> None:
    """Accepted, Conflicted, TargetNotFound, Invalid: each with a sentence."""
    told = compiled(
        peer_authentication("old", "STRICT"),
        peer_authentication("new", "STRICT", created="2026-02-01T00:00:00Z"),
        peer_authentication("lost", "STRICT", ("", "Service", "nobody")),
        peer_authentication("bad", "MAYBE"),
    ).policy_statuses

    assert {key.name: one.reason for key, (one, *_) in told.items()} == {
        "old": "Accepted",
        "new": "Conflicted",
        "lost": "TargetNotFound",
        "bad": "Invalid",
    }
    assert "shop/old is older" in told[Key("shop", "new")][0].message


def test_terminating_endpoints_serve_only_while_no_other_is_ready() -> None:
    """As ClusterIPs do (KEP-1669)."""
    dying = endpoint("api-1", "10.0.0.2", ready=False, serving=True, terminating=True)
    alone = compiled(endpoint_slice("api", dying)).services[Key("shop", "api")].ports[80]
    joined = (
        compiled(endpoint_slice("api", dying, endpoint("api-2", "10.0.0.3"))).services[Key("shop", "api")].ports[80]
    )

    assert [e.address for e in alone.endpoints] == ["10.0.0.2"]
    assert [e.address for e in joined.endpoints] == ["10.0.0.3"]


def test_endpoint_that_is_not_ready_is_left_out() -> None:
    """Unset means ready, false means not."""
    ends = [endpoint("api-1", "10.0.0.2", ready=False), endpoint("api-2", "10.0.0.3")]
    found = compiled(endpoint_slice("api", *ends)).services[Key("shop", "api")].ports[80]

    assert [e.address for e in found.endpoints] == ["10.0.0.3"]


def test_endpoint_waits_for_its_pod_to_be_seen() -> None:
    """Watches race: a mesh pod must not be called in plaintext because its Pod object came a moment later."""
    early = endpoint_slice("api", endpoint("new-1", "10.0.0.9"), endpoint("api-2", "10.0.0.3"))
    by_hand = {"addresses": ["192.0.2.1"], "conditions": {"ready": True}}

    def addresses(*more: Object) -> list[str]:
        return [e.address for e in compiled(*more).services[Key("shop", "api")].ports[80].endpoints]

    assert addresses(early) == ["10.0.0.3"]
    assert addresses(early, pod("new-1", "10.0.0.9")) == ["10.0.0.3", "10.0.0.9"]
    assert addresses(endpoint_slice("api", by_hand)) == ["192.0.2.1"]


def test_inbound_port_speaks_what_its_services_declare() -> None:
    """Two Services that disagree leave it to the sidecar's eyes; the pod's own annotation has the last word."""
    grpc = service("calls", "10.96.0.5", {"name": "grpc", "port": 80})
    behind = endpoint_slice("calls", endpoint("api-1", "10.0.0.2"), ports={"grpc": 8080})
    opaque = pod("api-1", "10.0.0.2", annotations={"tulle.dev/opaque-ports": "8080"})

    assert compiled().pods[API_1].protocol(8080) is Protocol.HTTP
    assert compiled(grpc, behind).pods[API_1].protocol(8080) is Protocol.AUTO
    assert compiled(opaque).pods[API_1].protocol(8080) is Protocol.TCP
    assert compiled().pods[API_1].protocol(1) is Protocol.AUTO


def test_headless_service_has_endpoints_but_no_address() -> None:
    """Its pods are reached by their own."""
    snapshot = compiled(service("none", "None", HTTP), endpoint_slice("none", endpoint("api-1", "10.0.0.2")))

    assert snapshot.services[Key("shop", "none")].ports[80].endpoints
    assert Key("shop", "none") not in snapshot.service_ips.values()
