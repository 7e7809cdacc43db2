"""The chart by real Helm, without a cluster: what it renders, what it refuses, and that what is rendered from it is fresh."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from controlplane import settings
from meshapi import names
from tests.support.cluster import ROOT
from tulle import helm

Object = dict[str, Any]
CHART = str(ROOT / "charts" / "tulle")


def render(*assignments: str) -> list[Object]:
    """Every object of the chart with some values."""
    files = helm.call("render", chart=CHART, namespace="tulle-system", set=list(assignments))["files"]
    texts = [text for path, text in files.items() if path.endswith(".yaml")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """The chart as it is by default."""
    return render()


def only(objects: list[Object], kind: str) -> Object:
    (found,) = [obj for obj in objects if obj["kind"] == kind]
    return found


def test_helm_lints_the_chart_strictly() -> None:
    """Nothing but the taste in icons is left to say."""
    report = helm.call("lint", chart=CHART, namespace="tulle-system")

    assert report["errors"] == []
    assert [m["error"] for m in report["messages"] if m["severity"] > 1] == []


def test_rendered_manifests_are_fresh() -> None:
    """manifests/install.yaml and the chart's copies of the kinds are what `make manifests` would write."""
    done = subprocess.run(
        [sys.executable, "tools/render_manifests.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("assignment", "field"),
    [
        ("replicas=many", "replicas"),
        ("logLevel=loud", "logLevel"),
        ("mesh.mtls.mode=strict", "mode"),
        ("injection.failurePolicy=Maybe", "failurePolicy"),
        ("proxy.resources.limits.cpu=lots", "cpu"),
        (f"ca.certificateSeconds={names.LEAST_CERTIFICATE_SECONDS - 1}", "certificateSeconds"),
        ("nosuch=1", "nosuch"),
        ("mesh.nosuch=1", "nosuch"),
    ],
)
def test_bad_value_is_refused_by_its_name(assignment: str, field: str) -> None:
    """What the schema does not know is a mistake, and told as one."""
    with pytest.raises(helm.HelmError, match=field):
        render(assignment)


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("ca.secret=tulle-signing", "ca.secret is tulle-signing: the control plane keeps the issuer in use there"),
        (
            "ca.rootsConfigMap=tulle-trust",
            "ca.rootsConfigMap is tulle-trust: the control plane remembers the mesh's own",
        ),
    ],
)
def test_name_that_is_ours_for_something_else_is_refused_in_a_sentence(assignment: str, sentence: str) -> None:
    """One would be read as what it is not, and written over."""
    with pytest.raises(helm.HelmError, match=sentence):
        render(assignment)


def test_one_object_a_file() -> None:
    """A reader finds an object by its file's name."""
    for path in (Path(CHART) / "templates").glob("*.yaml"):
        assert path.name == "crds.yaml" or path.read_text().count("\nkind: ") == 1, path


def test_control_plane_is_valid_under_the_restricted_profile(objects: list[Object]) -> None:
    """The mesh asks of its own pods what it asks of others."""
    spec = only(objects, "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_environment_is_one_the_control_plane_reads(objects: list[Object]) -> None:
    """Values reach the settings they are meant for."""
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    given = {e["name"]: e.get("value", "x") for e in container["env"]}
    read = settings.load(given)

    assert read.trust_domain == "cluster.local"
    assert read.proxy.image == container["image"]
    source = (ROOT / "controlplane" / "settings.py").read_text()
    assert [name for name in given if name not in source] == []


def test_images_a_pod_may_ask_for_are_values() -> None:
    """Nobody but the mesh's operator says what may run as root with NET_ADMIN."""
    (container,) = only(render("proxy.allowedImages={a:1,registry.example/b@sha256:00}"), "Deployment")["spec"][
        "template"
    ]["spec"]["containers"]
    given = {e["name"]: e.get("value", "x") for e in container["env"]}

    assert settings.load(given).proxy.allowed_images == {"a:1", "registry.example/b@sha256:00"}
    with pytest.raises(helm.HelmError, match="allowedImages"):
        render("proxy.allowedImages={a b}")


def test_excluded_namespaces_reach_webhooks_and_process() -> None:
    """The operator rolls nothing where the webhooks do not look."""
    rendered = render("injection.excludedNamespaces={a,b}")
    (container,) = only(rendered, "Deployment")["spec"]["template"]["spec"]["containers"]
    given = {e["name"]: e.get("value", "tulle-system") for e in container["env"]}
    hook = only(rendered, "MutatingWebhookConfiguration")["webhooks"][0]

    assert settings.load(given).untouched == {"a", "b", "kube-system", "tulle-system"}
    assert set(hook["namespaceSelector"]["matchExpressions"][0]["values"]) == settings.load(given).untouched


def test_webhooks_stay_out_of_system_namespaces_and_leave_the_bundle_to_the_control_plane(
    objects: list[Object],
) -> None:
    """The cluster's own parts and ours start without us; an upgrade never takes the caBundle away."""
    hooks = only(objects, "MutatingWebhookConfiguration")["webhooks"]

    for hook in hooks:
        first = hook["namespaceSelector"]["matchExpressions"][0]
        assert first["operator"] == "NotIn"
        assert {"kube-system", "tulle-system"} <= set(first["values"])
        assert "caBundle" not in hook["clientConfig"]
        assert (hook["sideEffects"], hook["reinvocationPolicy"]) == ("None", "IfNeeded")
    assert {hook["name"]: hook["failurePolicy"] for hook in hooks} == {
        "pods.inject.tulle.dev": "Fail",
        "namespaces.inject.tulle.dev": "Fail",
        "annotated-namespaces.inject.tulle.dev": "Ignore",
        "workloads.inject.tulle.dev": "Fail",
        "changed-workloads.inject.tulle.dev": "Ignore",
    }


def test_path_tells_who_selected_the_pod(objects: list[Object]) -> None:
    """The webhook of labelled namespaces has a path of its own, so that its selection need not be repeated from a store that lags."""
    hooks = only(objects, "MutatingWebhookConfiguration")["webhooks"]

    assert {hook["name"].partition(".")[0]: hook["clientConfig"]["service"]["path"] for hook in hooks} == {
        "pods": "/inject",
        "namespaces": "/inject/namespace",
        "annotated-namespaces": "/inject",
        "workloads": "/workload",
        "changed-workloads": "/workload",
    }
    read = [rule for rule in only(objects, "ClusterRole")["rules"] if "namespaces" in rule["resources"]]
    assert "get" in {verb for rule in read for verb in rule["verbs"]}


def test_failure_policy_is_a_value() -> None:
    """Who would rather run unmeshed than not at all may."""
    hooks = only(render("injection.failurePolicy=Ignore"), "MutatingWebhookConfiguration")["webhooks"]

    assert {hook["failurePolicy"] for hook in hooks} == {"Ignore"}


def test_autoscaling_takes_the_replicas_over_and_extras_come_when_asked() -> None:
    """A fixed count beside an autoscaler would fight it."""
    rendered = render("autoscaling.enabled=true", "networkPolicy.enabled=true", "podDisruptionBudget.enabled=false")
    kinds = {obj["kind"] for obj in rendered}

    assert "replicas" not in only(rendered, "Deployment")["spec"]
    assert {"HorizontalPodAutoscaler", "NetworkPolicy"} <= kinds
    assert "PodDisruptionBudget" not in kinds


def test_kinds_outlive_the_release_and_are_the_ones_in_manifests(objects: list[Object]) -> None:
    """An uninstall does not take the users' objects along."""
    crds = {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == "CustomResourceDefinition"}
    wanted = [crd for p in (ROOT / "manifests" / "crds").glob("*.yaml") for crd in yaml.safe_load_all(p.read_text())]

    assert crds
    assert sorted(crds) == sorted(crd["metadata"]["name"] for crd in wanted)
    for crd in wanted:
        rendered = crds[crd["metadata"]["name"]]
        assert rendered["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert rendered["spec"] == crd["spec"]


def test_mesh_object_says_the_values(objects: list[Object]) -> None:
    """The first time it is a hook, because its kind comes with the same release."""
    mesh = only(render("mesh.mtls.mode=STRICT", "mesh.outbound=DENY"), "Mesh")

    assert (mesh["spec"]["mtls"]["mode"], mesh["spec"]["outbound"]) == ("STRICT", "DENY")
    assert "post-install" in only(objects, "Mesh")["metadata"]["annotations"]["helm.sh/hook"]


def test_rights_are_no_wider_than_the_work(objects: list[Object]) -> None:
    """No wildcard verb, nothing deleted, no Secret outside the own namespace, no webhook but the own."""
    rules = only(objects, "ClusterRole")["rules"]

    for rule in rules + only(objects, "Role")["rules"]:
        assert not {"*", "delete", "deletecollection", "escalate", "bind", "impersonate"} & set(rule["verbs"])
    assert not [rule for rule in rules if "secrets" in rule["resources"]]
    assert [rule["resourceNames"] for rule in rules if "mutatingwebhookconfigurations" in rule["resources"]] == [
        ["tulle"]
    ]


def test_schema_knows_every_default() -> None:
    """Each value of values.yaml is described, so none can be misspelt unseen."""
    schema = json.loads((Path(CHART) / "values.schema.json").read_text())
    values = yaml.safe_load((Path(CHART) / "values.yaml").read_text())

    assert set(values) == set(schema["properties"]) - {"global"}


SUGGESTED = {"leader-election": 200, "workload-high": 900}
"""Priority levels every API server makes by itself, and the last precedence at which its own schemas put requests there."""


def test_lease_and_admission_have_a_priority_of_their_own(objects: list[Object]) -> None:
    """A level that exists, before the schema that takes all service accounts (9000), for this account and these requests alone."""
    schemas = [obj["spec"] for obj in objects if obj["kind"] == "FlowSchema"]
    (account,) = {
        (s["serviceAccount"]["namespace"], s["serviceAccount"]["name"])
        for x in schemas
        for r in x["rules"]
        for s in r["subjects"]
    }
    asked = {
        resource for x in schemas for r in x["rules"] for rule in r["resourceRules"] for resource in rule["resources"]
    }

    assert account == ("tulle-system", only(objects, "ServiceAccount")["metadata"]["name"])
    assert {x["priorityLevelConfiguration"]["name"] for x in schemas} == set(SUGGESTED)
    for one in schemas:
        assert SUGGESTED[one["priorityLevelConfiguration"]["name"]] < one["matchingPrecedence"] < 9000
    assert {"leases", "tokenreviews", "namespaces", "mutatingwebhookconfigurations"} <= asked
    assert "FlowSchema" not in {obj["kind"] for obj in render("flowSchemas.enabled=false")}
