"""The validator's door: built-in kinds by the client's models and the tables, custom kinds by their definitions."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from devcluster.api.errors import StatusError
from devcluster.api.kinds import Resource, Resources
from devcluster.schema.validate import Validator
from tests.support.objects import container, deployment, pod, service

RESOURCES = Resources()


@pytest.fixture(scope="module")
def validator() -> Validator:
    """One for all: what it reads it keeps."""
    return Validator()


def resource(obj: dict[str, Any]) -> Resource:
    found = RESOURCES.of(obj)
    assert found
    return found


def refused(validator: Validator, obj: dict[str, Any], old: dict[str, Any] | None = None) -> str:
    try:
        validator.decode(resource(obj), obj)
        validator.validate(resource(obj), obj, old)
    except StatusError as error:
        return error.message
    return pytest.fail("it was taken")


def changed(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    new = copy.deepcopy(obj)
    inner: Any = new
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return new


@pytest.mark.parametrize("obj", [pod("p"), deployment("d"), service("s")], ids=["pod", "deployment", "service"])
def test_what_is_right_passes(validator: Validator, obj: dict[str, Any]) -> None:
    """The test suite's own objects are taken without a word."""
    assert validator.decode(resource(obj), obj) == []
    validator.validate(resource(obj), obj)
    validator.validate(resource(obj), copy.deepcopy(obj), obj)


def test_unknown_field_is_an_error_a_warning_or_nothing(validator: Validator) -> None:
    """`fieldValidation` decides; the sentence names the whole path."""
    bad = changed(service("s"), "spec.selctor", {})
    with pytest.raises(StatusError) as caught:
        validator.decode(resource(bad), copy.deepcopy(bad), "Strict")

    assert caught.value.code == 400
    assert 'strict decoding error: unknown field "spec.selctor"' in caught.value.message
    assert validator.decode(resource(bad), copy.deepcopy(bad), "Warn") == ['unknown field "spec.selctor"']
    assert validator.decode(resource(bad), bad, "Ignore") == []
    assert "selctor" not in bad["spec"]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "spec.replicas",
            "3",
            "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        ("spec.template.spec.containers", {}, "cannot unmarshal object"),
        ("spec.template.spec.containers.0.resources.limits.cpu", "lots", "quantities must match"),
        ("metadata.labels.x", 1, "cannot unmarshal number"),
    ],
)
def test_wrong_type_is_a_bad_request(validator: Validator, path: str, value: Any, said: str) -> None:
    """What cannot be read as its kind is 400, before any rule is asked."""
    bad = changed(deployment("d", containers=[container(resources={"limits": {"cpu": 1}})]), path, value)

    assert said in refused(validator, bad)


@pytest.mark.parametrize(
    ("obj", "path", "value", "said"),
    [
        (deployment("d"), "metadata.name", "Big", 'metadata.name: Invalid value: "Big": a lowercase RFC 1123 subdomain'),
        (deployment("d"), "metadata.labels", {"a b": "c"}, 'metadata.labels: Invalid value: "a b": name part must consist'),
        (deployment("d"), "metadata.labels", {"a": "-"}, 'metadata.labels[a]: Invalid value: "-": a valid label'),
        (deployment("d"), "spec.selector.matchLabels", {"app": "x"}, "`selector` does not match template `labels`"),
        (deployment("d"), "spec.selector", None, "spec.selector: Required value"),
        (deployment("d"), "spec.replicas", -1, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (deployment("d"), "spec.template.spec.containers", [], "spec.template.spec.containers: Required value"),
        (deployment("d"), "spec.template.spec.restartPolicy", "Never", 'Unsupported value: "Never": supported values: "Always"'),
        (pod("p"), "spec.containers.0.image", None, "spec.containers[0].image: Required value"),
        (pod("p"), "spec.containers", [container(), container()], 'spec.containers[1].name: Duplicate value: "app"'),
        (pod("p"), "spec.containers.0.env", [{"name": "a=b", "value": "c"}], "environment variable name"),
        (pod("p"), "spec.containers.0.ports", [{"containerPort": 70000}], "must be between 1 and 65535, inclusive"),
        (pod("p"), "spec.containers.0.volumeMounts", [{"name": "v", "mountPath": "/v"}], 'Not found: "v"'),
        (pod("p"), "spec.containers.0.livenessProbe", {"periodSeconds": 1}, "must specify a handler type"),
        (pod("p"), "spec.volumes", [{"name": "v"}], "spec.volumes[0]: Required value: must specify a volume type"),
        (
            pod("p"),
            "spec.containers.0.resources",
            {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}},
            "must be less than or equal to cpu limit of 1",
        ),
        (
            pod("p"),
            "spec.initContainers",
            [container("init", readinessProbe={"tcpSocket": {"port": 1}})],
            "may not be set for init containers without restartPolicy=Always",
        ),
        (service("s"), "spec.ports", [], "spec.ports: Required value"),
        (service("s"), "spec.ports.0.port", 0, "must be between 1 and 65535"),
        (service("s"), "spec.ports", [{"port": 1}, {"port": 2}], "spec.ports[0].name: Required value"),
        (
            service("s"),
            "spec.ports",
            [{"name": "a", "port": 80}, {"name": "b", "port": 80}],
            'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}',
        ),
        (service("s"), "spec.ports", [{"name": "a", "port": 1}, {"name": "a", "port": 2}], 'Duplicate value: "a"'),
        (service("s"), "metadata.name", "1st", "a DNS-1035 label"),
    ],
)  # fmt: skip
def test_rule_is_refused_with_field_and_reason(
    validator: Validator, obj: dict[str, Any], path: str, value: Any, said: str
) -> None:
    """Each rule of the tables says its field and what is wrong."""
    assert said in refused(validator, changed(obj, path, value))


def test_native_sidecar_may_have_probes(validator: Validator) -> None:
    """An init container that restarts always is a sidecar and may be probed."""
    probe = {"httpGet": {"path": "/", "port": 1}}
    sidecar = container("side", restartPolicy="Always", startupProbe=probe, readinessProbe=probe)
    one = pod("p", initContainers=[sidecar])

    validator.validate(resource(one), one)


@pytest.mark.parametrize(
    ("old", "path", "value", "said"),
    [
        (deployment("d"), "spec.selector.matchLabels", {"app": "d", "x": "y"}, "spec.selector: Invalid value"),
        (pod("p"), "spec.containers.0.command", ["true"], "pod updates may not change fields other than"),
        (changed(service("s"), "spec.clusterIP", "10.0.0.1"), "spec.clusterIP", "10.0.0.2", "field is immutable"),
    ],
)
def test_immutable_field_may_not_change(
    validator: Validator, old: dict[str, Any], path: str, value: Any, said: str
) -> None:
    """What may not change is refused on update."""
    assert said in refused(validator, changed(old, path, value), old)


def test_image_and_node_of_a_pod_may_change(validator: Validator) -> None:
    """The scheduler binds a pod, a user changes an image."""
    old = pod("p")
    new = changed(changed(old, "spec.containers.0.image", "other"), "spec.nodeName", "node")

    validator.validate(resource(new), new, old)


def test_every_cause_is_listed(validator: Validator) -> None:
    """A 422 has all causes in its details, each with field, reason and message."""
    bad = changed(changed(deployment("d"), "spec.replicas", -1), "spec.selector", None)
    with pytest.raises(StatusError) as caught:
        validator.validate(resource(bad), bad)

    assert caught.value.code == 422
    assert caught.value.message.startswith('Deployment.apps "d" is invalid: [')
    assert {cause["field"] for cause in caught.value.details["causes"]} == {"spec.selector", "spec.replicas"}
