"""Injection as a function: who gets a sidecar, what it looks like, and that doing it twice is doing it once."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from controlplane.inject.options import InjectSettings
from controlplane.inject.patch import inject
from controlplane.inject.refusal import BadAnnotationError, RefusedPodError
from meshapi import names

Object = dict[str, Any]

SETTINGS = InjectSettings(ca_roots="-----BEGIN CERTIFICATE-----", trust_domain="mesh.example")
CLASSIC = replace(SETTINGS, native_sidecar=False)
ON = {names.INJECT: names.ENABLED}
OFF = {names.INJECT: names.DISABLED}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    app = {
        "name": "app",
        "image": "app:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
        "securityContext": RESTRICTED,
    }
    spec.setdefault("containers", [app])
    return {"metadata": {"name": "p", "annotations": annotations, "labels": labels}, "spec": spec}


def names_of(containers: list[Object]) -> list[str]:
    return [c["name"] for c in containers]


def container(injected: Object, name: str) -> Object:
    spec = injected["spec"]
    found: Object = next(c for c in spec.get("initContainers", []) + spec["containers"] if c["name"] == name)
    return found


def environment(injected: Object) -> dict[str, Any]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container(injected, names.PROXY_CONTAINER)["env"]}


@pytest.mark.parametrize(
    ("annotations", "labels", "namespace", "wanted"),
    [
        (None, None, {}, False),
        (ON, None, {}, True),
        (None, ON, {}, True),
        (None, None, ON, True),
        (OFF, None, ON, False),
        (None, OFF, ON, False),
        (ON, None, OFF, True),
        (ON, OFF, OFF, True),
        (None, None, OFF, False),
    ],
)
def test_word_nearest_the_pod_wins(
    annotations: dict[str, str] | None, labels: dict[str, str] | None, namespace: dict[str, str], wanted: bool
) -> None:
    """The pod's annotation goes before its label, and both before the namespace."""
    given = pod(annotations, labels)
    found = inject(given, SETTINGS, namespace="shop", namespace_labels=namespace)

    assert found.injected is wanted
    assert (found.pod is given) is not wanted


@pytest.mark.parametrize("namespace", sorted(SETTINGS.excluded_namespaces))
def test_system_namespaces_are_never_touched(namespace: str) -> None:
    """The control plane must come up without itself."""
    assert not inject(pod(ON), SETTINGS, namespace=namespace).injected


@pytest.mark.parametrize("where", ["annotation", "label", "namespace"])
def test_word_that_is_none_is_refused_wherever_it_stands(where: str) -> None:
    """Nobody is left guessing whether `yes` meant anything."""
    bad = {names.INJECT: "yes"}
    given = pod(bad if where == "annotation" else None, bad if where == "label" else None)

    with pytest.raises(BadAnnotationError, match=r"tulle.dev/inject.*'yes'"):
        inject(given, SETTINGS, namespace="shop", namespace_labels=bad if where == "namespace" else {})


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"os": {"name": "windows"}}, "Windows"),
    ],
)
def test_skip_is_recorded_with_its_reason(spec: Object, reason: str) -> None:
    """Who asked and got nothing finds out why on the pod."""
    found = inject(pod(ON, **spec), SETTINGS)

    assert not found.injected
    assert reason in found.skipped
    assert found.pod["metadata"]["annotations"][names.SKIPPED] == found.skipped
    assert inject(pod(OFF, **spec), SETTINGS).pod["metadata"]["annotations"] == OFF


def test_native_sidecar_comes_before_the_apps_own_init_containers() -> None:
    """The rules first, then the sidecar, then init containers that have a network, then the app."""
    found = inject(pod(ON, initContainers=[{"name": "migrate"}]), SETTINGS).pod

    assert names_of(found["spec"]["initContainers"]) == ["tulle-init", "tulle-proxy", "migrate"]
    assert names_of(found["spec"]["containers"]) == ["app"]
    proxy = container(found, "tulle-proxy")
    assert proxy["restartPolicy"] == "Always"
    assert proxy["startupProbe"]["httpGet"]["path"] == "/healthz/ready"
    assert proxy["startupProbe"]["periodSeconds"] == 1


def test_plain_container_holds_the_app_and_captures_after_its_init_containers() -> None:
    """Before Kubernetes 1.29 the sidecar is the first container and its postStart hook the gate."""
    found = inject(pod(ON, initContainers=[{"name": "migrate"}]), CLASSIC).pod

    assert names_of(found["spec"]["initContainers"]) == ["migrate", "tulle-init"]
    assert names_of(found["spec"]["containers"]) == ["tulle-proxy", "app"]
    proxy = container(found, "tulle-proxy")
    assert "restartPolicy" not in proxy
    assert "healthz/ready" in proxy["lifecycle"]["postStart"]["exec"]["command"][-1]
    command = proxy["lifecycle"]["preStop"]["exec"]["command"]
    assert ("POST /drain" in command[-2], command[-1]) == (True, "25")


@pytest.mark.parametrize(
    ("annotations", "grace", "seconds"),
    [({}, None, "25"), ({}, 300, "275"), ({names.DRAIN_SECONDS: "40"}, 300, "40"), ({}, 5, "25")],
)
def test_plain_container_serves_its_app_for_as_long_as_that_may_take(
    annotations: dict[str, str], grace: int | None, seconds: str
) -> None:
    """It is told to end beside the app; how long that goes on calling others only its grace period says, or its author."""
    spec: Object = {"terminationGracePeriodSeconds": grace} if grace else {}
    proxy = container(inject(pod(ON | annotations, **spec), CLASSIC).pod, "tulle-proxy")

    assert {one["name"]: one.get("value") for one in proxy["env"]}[names.ENV_DRAIN_SECONDS] == seconds


def test_app_is_stopped_only_after_its_callers_moved_on() -> None:
    """The kubelet asks the sidecar first; an app's own hook stays. The sidecar's own tells it, at once, that the whole pod goes."""
    own = {"lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}, "name": "own"}
    found = inject(pod(ON, containers=[{"name": "app"}, own]), SETTINGS).pod
    asked = {"httpGet": {"path": names.PRESTOP_PATH, "port": names.PROXY_ADMIN_PORT, "scheme": "HTTP"}}

    assert container(found, "app")["lifecycle"]["preStop"] == asked
    assert container(found, "own") == own
    command = container(found, "tulle-proxy")["lifecycle"]["preStop"]["exec"]["command"]
    assert ("POST /drain" in command[-2], command[-1]) == (True, "0")


def test_sidecar_is_told_what_it_needs() -> None:
    """Addresses, trust, identity's parts and the app's probes."""
    told = environment(inject(pod(ON), SETTINGS, workload="Deployment/web").pod)

    assert told[names.ENV_XDS_ADDRESS] == "tulle.tulle-system.svc:15012"
    assert told[names.ENV_TRUST_DOMAIN] == "mesh.example"
    assert told[names.ENV_CA_ROOTS].startswith("-----BEGIN")
    assert told[names.ENV_WORKLOAD] == "Deployment/web"
    assert told[names.ENV_POD] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert told[names.ENV_SERVICE_ACCOUNT] == {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}
    assert json.loads(told[names.ENV_APP_PROBES])["/app-health/app/readyz"]["port"] == 8080


def test_token_is_projected_for_the_mesh_alone_and_state_is_in_memory() -> None:
    """The token is of no use to anybody but the certificate authority."""
    volumes = {v["name"]: v for v in inject(pod(ON), SETTINGS).pod["spec"]["volumes"]}
    token = volumes["tulle-token"]["projected"]["sources"][0]["serviceAccountToken"]

    assert token["audience"] == names.TOKEN_AUDIENCE
    assert token["expirationSeconds"] >= 3600
    assert volumes["tulle-state"]["emptyDir"]["medium"] == "Memory"


def test_annotations_reach_init_container_and_sidecar() -> None:
    """Exclusions are the init container's arguments; the rest is the sidecar's."""
    asked = {
        names.EXCLUDE_INBOUND_PORTS: "9000,9001",
        names.EXCLUDE_OUTBOUND_PORTS: "5432",
        names.EXCLUDE_OUTBOUND_CIDRS: "10.0.0.0/8",
        names.PROXY_CPU_REQUEST: "300m",
        names.PROXY_LOG_LEVEL: "debug",
        names.PROXY_IMAGE: "mine:2",
    }
    allowed = replace(SETTINGS, proxy=replace(SETTINGS.proxy, allowed_images=frozenset({"mine:2"})))
    found = inject(pod(ON | asked), allowed).pod

    assert container(found, "tulle-init")["args"] == [
        "--exclude-inbound-ports=9000,9001",
        "--exclude-outbound-ports=5432",
        "--exclude-outbound-cidrs=10.0.0.0/8",
    ]
    proxy = container(found, "tulle-proxy")
    assert proxy["resources"]["requests"]["cpu"] == "300m"
    assert "cpu" not in proxy["resources"]["limits"]
    assert proxy["image"] == "mine:2"
    assert environment(found)[names.ENV_LOG_LEVEL] == "debug"


def test_pod_carries_its_label_and_its_status() -> None:
    """Endpoints are known to speak mesh TLS, and people see what was added."""
    metadata = inject(pod(ON | {names.SKIPPED: "once"}), SETTINGS).pod["metadata"]
    status = json.loads(metadata["annotations"][names.STATUS])

    assert metadata["labels"][names.MESH_LABEL] == names.ENABLED
    assert status["initContainers"] == ["tulle-init", "tulle-proxy"]
    assert status["containers"] == []
    assert status["version"] == SETTINGS.version
    assert names.SKIPPED not in metadata["annotations"]


@pytest.mark.parametrize("settings", [SETTINGS, CLASSIC], ids=["native", "plain"])
def test_injecting_twice_is_injecting_once(settings: InjectSettings) -> None:
    """Re-invocation changes nothing, probes included."""
    once = inject(pod(ON), settings, workload="Deployment/web").pod
    kept = copy.deepcopy(once)

    assert inject(once, settings, workload="Deployment/web").pod == kept


@pytest.mark.parametrize("settings", [SETTINGS, CLASSIC], ids=["native", "plain"])
@pytest.mark.parametrize("name", [names.INIT_CONTAINER, names.PROXY_CONTAINER])
@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_forged_status_runs_nothing_of_its_author_in_our_containers(
    settings: InjectSettings, name: str, where: str
) -> None:
    """`tulle-init` is root with NET_ADMIN: whoever says it is ours already gets the one we build, and is told."""
    forged = {
        "name": name,
        "image": settings.proxy.image,
        "command": ["/evil/run"],
        "env": [{"name": "PYTHONPATH", "value": "/evil"}, {"name": "LD_PRELOAD", "value": "/evil/x.so"}],
        "envFrom": [{"configMapRef": {"name": "evil"}}],
        "volumeMounts": [{"name": "evil", "mountPath": "/evil"}],
        "lifecycle": {"postStart": {"exec": {"command": ["/evil/run"]}}},
        "workingDir": "/evil",
    }
    spec: Object = {"containers": [{"name": "app"}], "volumes": [{"name": "evil", "configMap": {"name": "evil"}}]}
    spec[where] = [*spec.get(where, ()), forged]
    given = {"metadata": {"name": "p", "annotations": ON | {names.STATUS: "{}"}}, "spec": spec}
    plain = {"metadata": {"name": "p", "annotations": ON}, "spec": {"containers": [{"name": "app"}]}}
    found = inject(given, settings)

    assert container(found.pod, name) == container(inject(plain, settings).pod, name)
    assert names_of(found.pod["spec"]["containers"] + found.pod["spec"]["initContainers"]).count(name) == 1
    assert "evil" not in json.dumps([container(found.pod, n) for n in (names.INIT_CONTAINER, names.PROXY_CONTAINER)])
    assert [w for w in found.warnings if name in w and "PYTHONPATH" in w and "/evil" in w]


@pytest.mark.parametrize("name", [names.INIT_CONTAINER, names.PROXY_CONTAINER])
def test_container_of_our_name_that_is_not_ours_is_refused(name: str) -> None:
    """A pod that asked for the mesh neither starts bare behind somebody's `tulle-proxy`, nor is anything guessed."""
    with pytest.raises(RefusedPodError, match=f"a container named {name}, which this mesh did not put there"):
        inject(pod(ON, containers=[{"name": "app"}, {"name": name, "image": "mine"}]), SETTINGS)
    assert inject(pod(OFF, containers=[{"name": name}]), SETTINGS).injected is False


@pytest.mark.parametrize("settings", [SETTINGS, CLASSIC], ids=["native", "plain"])
def test_copy_of_an_injected_pod_is_injected_anew(settings: InjectSettings) -> None:
    """`kubectl debug --copy-to` drops labels and annotations; what runs our programs is ours, and is built from nothing all the same."""
    once = inject(pod(ON), settings, workload="Deployment/web").pod
    copied = {"metadata": {"name": "copy"}, "spec": copy.deepcopy(once["spec"])}
    again = inject(copied, settings, namespace_labels=ON, workload="Deployment/web").pod

    assert again["spec"] == once["spec"]
    assert again["metadata"]["labels"] == {names.MESH_LABEL: names.ENABLED}


def test_quantities_a_namespace_gives_are_kept_where_we_leave_them_open() -> None:
    """A LimitRange or quota counts our containers too: what its defaults set must be there when it judges. Ours are not overridden."""
    once = inject(pod(ON), SETTINGS).pod
    for name in (names.INIT_CONTAINER, names.PROXY_CONTAINER):
        resources = container(once, name)["resources"]
        resources["limits"] |= {"cpu": "2", "memory": "1Ti", "example.com/gpu": "8"}
        resources["requests"]["ephemeral-storage"] = "10Mi"
    again = inject(once, SETTINGS)

    for name in (names.INIT_CONTAINER, names.PROXY_CONTAINER):
        kept = container(again.pod, name)["resources"]
        assert kept["limits"] == {"cpu": "2", "memory": SETTINGS.proxy.memory_limit}
        assert kept["requests"]["ephemeral-storage"] == "10Mi"
        assert kept["requests"]["cpu"] == SETTINGS.proxy.cpu_request


def test_what_other_webhooks_add_later_is_taken_in_but_not_into_our_containers() -> None:
    """A container added after us has its probes rewritten; what was hung on ours is taken off, and told where it is no token."""
    once = inject(pod(ON), SETTINGS).pod
    once["spec"]["containers"].append({"name": "late", "livenessProbe": {"tcpSocket": {"port": 70}}})
    account = {"name": "kube-api-access-x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    container(once, "tulle-proxy")["volumeMounts"].append(account)
    silent = inject(once, SETTINGS)
    container(once, "tulle-proxy")["env"].append({"name": "ZONE", "value": "a"})
    again = inject(once, SETTINGS)

    probes = json.loads(environment(again.pod)[names.ENV_APP_PROBES])
    assert set(probes) == {"/app-health/app/readyz", "/app-health/late/livez"}
    assert "ZONE" not in environment(again.pod)
    assert account not in container(silent.pod, "tulle-proxy")["volumeMounts"]
    assert silent.warnings == ()
    assert ["ZONE" in warning for warning in again.warnings] == [True]


def test_newer_roots_replace_those_of_an_offline_injection() -> None:
    """A manifest injected last month trusts today's roots when it is applied."""
    old = inject(pod(ON), replace(SETTINGS, ca_roots="old")).pod

    assert environment(inject(old, SETTINGS).pod)[names.ENV_CA_ROOTS] == SETTINGS.ca_roots


@pytest.mark.parametrize("forged", ["{", "[]", '{"x": 1}', '"x"'])
def test_forged_probe_table_is_ignored(forged: str) -> None:
    """A table nobody can read costs nothing but itself."""
    once = inject(pod(ON), SETTINGS).pod
    for entry in container(once, "tulle-proxy")["env"]:
        if entry["name"] == names.ENV_APP_PROBES:
            entry["value"] = forged

    assert inject(once, SETTINGS).injected


def test_app_that_runs_as_the_sidecars_user_is_warned_of() -> None:
    """Its traffic would leave uncaptured, which nobody would notice."""
    found = inject(pod(ON, securityContext={"runAsUser": names.PROXY_UID}), SETTINGS)

    assert "app" in found.warnings[0]


@pytest.mark.parametrize("port", [names.OUTBOUND_PORT, names.INBOUND_PORT, names.PROXY_ADMIN_PORT])
@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_app_port_that_is_the_sidecars_is_refused(port: int, where: str) -> None:
    """One network namespace: the second to listen there would crash for ever, and which one that is would be chance."""
    spec: Object = {"containers": [{"name": "app"}]}
    spec[where] = [*spec.get(where, ()), {"name": "late", "ports": [{"containerPort": port}]}]

    with pytest.raises(RefusedPodError, match=f"container late has port {port}, where the pod's sidecar"):
        inject(pod(ON, **spec), SETTINGS)
    spec[where][-1]["ports"][0]["protocol"] = "UDP"
    assert inject(inject(pod(ON, **spec), SETTINGS).pod, SETTINGS).injected


@pytest.mark.parametrize(
    ("settings", "grace", "lifecycle", "warned"),
    [
        (SETTINGS, 5, None, "is 5, but the pod's end may wait 10 s"),
        (SETTINGS, 12, None, ""),
        (SETTINGS, None, None, ""),
        (SETTINGS, 5, {"preStop": {"exec": {"command": ["sleep", "1"]}}}, ""),
        (CLASSIC, 20, None, "is 20, but the pod's end may wait 25 s"),
        (CLASSIC, 27, None, ""),
    ],
)
def test_grace_period_too_short_for_the_hooks_is_warned_of(
    settings: InjectSettings, grace: int | None, lifecycle: Object | None, warned: str
) -> None:
    """The app would be killed while its callers are still moving on, at each roll, and nobody would know why."""
    app: Object = {"name": "app"} | ({"lifecycle": lifecycle} if lifecycle else {})
    spec: Object = {"containers": [app]} | ({"terminationGracePeriodSeconds": grace} if grace else {})
    found = inject(pod(ON, **spec), settings)

    assert found.injected
    assert [warned in warning for warning in found.warnings] == ([True] if warned else [])


def restricted_violations(spec: Object) -> list[str]:
    """What the restricted Pod Security profile (1.29) has against a pod spec."""
    found = []
    general = spec.get("securityContext") or {}
    if any(set(volume) & {"hostPath", "nfs", "iscsi"} for volume in spec.get("volumes", ())):
        found.append("volumes")
    for each in [*spec.get("initContainers", ()), *spec["containers"]]:
        own = each.get("securityContext") or {}
        name = each["name"]
        capabilities = own.get("capabilities") or {}
        if own.get("privileged"):
            found.append(f"{name}: privileged")
        if own.get("allowPrivilegeEscalation") is not False:
            found.append(f"{name}: allowPrivilegeEscalation")
        if "ALL" not in capabilities.get("drop", ()):
            found.append(f"{name}: drop")
        found += [f"{name}: {c}" for c in capabilities.get("add", ()) if c != "NET_BIND_SERVICE"]
        if own.get("runAsNonRoot", general.get("runAsNonRoot")) is not True:
            found.append(f"{name}: runAsNonRoot")
        if own.get("runAsUser", general.get("runAsUser")) == 0:
            found.append(f"{name}: runAsUser")
        profile = own.get("seccompProfile", general.get("seccompProfile")) or {}
        if profile.get("type") not in ("RuntimeDefault", "Localhost"):
            found.append(f"{name}: seccompProfile")
    return found


@pytest.mark.parametrize("settings", [SETTINGS, CLASSIC], ids=["native", "plain"])
def test_restricted_pod_stays_restricted_but_for_the_init_containers_capabilities(settings: InjectSettings) -> None:
    """NET_ADMIN and NET_RAW, and user 0 without whom they have no effect, are all that is outside the profile."""
    assert restricted_violations(pod()["spec"]) == []
    assert restricted_violations(inject(pod(ON), settings).pod["spec"]) == [
        "tulle-init: NET_ADMIN",
        "tulle-init: NET_RAW",
        "tulle-init: runAsNonRoot",
        "tulle-init: runAsUser",
    ]


def test_what_was_given_is_not_changed() -> None:
    """Pure: the caller's pod is the caller's."""
    given = pod(ON)
    before = copy.deepcopy(given)
    inject(given, SETTINGS)

    assert given == before
