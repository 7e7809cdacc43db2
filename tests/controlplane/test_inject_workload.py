"""Workloads at admission: opting in at creation, and whose pod it is."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.inject.refusal import BadAnnotationError, RefusedPodError
from controlplane.inject.workload import follow, owner_of, signature, template_of
from meshapi import names

ON = {names.INJECT: names.ENABLED}


def workload(kind: str, annotations: dict[str, str] | None, template: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"template": template}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return {"kind": kind, "metadata": {"name": "w", "annotations": annotations}, "spec": spec}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"])
def test_annotation_is_copied_into_the_template_and_signed(kind: str) -> None:
    """What the operator would write is written at once, so it has nothing left to do."""
    before = workload(kind, ON, {"metadata": {"labels": {"app": "w"}}, "spec": {}})
    template = template_of(follow(before))

    assert template is not None
    assert template["metadata"]["annotations"] == ON | {names.INJECTED_BY: f"{kind}/w"}
    assert template["metadata"]["labels"] == {"app": "w"}
    assert names.INJECT not in str(template_of(before))


@pytest.mark.parametrize(
    ("annotations", "template"),
    [
        (None, {"spec": {}}),
        ({}, {"metadata": None}),
        (ON, {"metadata": {"annotations": {names.INJECT: names.DISABLED}}}),
        (ON, {"metadata": {"labels": {names.INJECT: names.DISABLED}}}),
    ],
    ids=["silent", "empty", "template's annotation", "template's label"],
)
def test_template_that_speaks_for_itself_or_nobody_asked_for_is_left_alone(
    annotations: dict[str, str] | None, template: dict[str, Any]
) -> None:
    """The word nearest the pod wins."""
    before = workload("Deployment", annotations, template)

    assert follow(before) is before


def test_mark_of_a_generated_name_is_the_name_it_is_generated_from() -> None:
    """The name is not known at admission, what it is made from is known then and later."""
    made = {"kind": "Job", "metadata": {"generateName": "w-", "annotations": ON}, "spec": {"template": {}}}
    template = template_of(follow(made))

    assert template is not None
    assert template["metadata"]["annotations"][names.INJECTED_BY] == "Job/w-"
    assert signature(made | {"metadata": made["metadata"] | {"name": "w-x7f"}}) == "Job/w-"


def test_word_that_is_none_is_refused() -> None:
    """A typo is told when the workload is made, not when its pods are."""
    with pytest.raises(BadAnnotationError, match=r"tulle.dev/inject is 'on'"):
        follow(workload("Job", {names.INJECT: "on"}, {}))


def owned(kind: str, name: str, **labels: str) -> dict[str, Any]:
    owner = {"kind": kind, "name": name, "controller": True}
    return {"metadata": {"generateName": "x-", "labels": labels, "ownerReferences": [owner]}}


def test_owner_is_named_as_the_user_knows_it() -> None:
    """A ReplicaSet made by a Deployment or an Argo Rollout is that, a Job made by a CronJob is the CronJob."""
    assert owner_of(owned("ReplicaSet", "web-5d9", **{"pod-template-hash": "5d9"})) == "Deployment/web"
    assert owner_of(owned("ReplicaSet", "web-5d9", **{"rollouts-pod-template-hash": "5d9"})) == "Rollout/web"
    assert owner_of(owned("Job", "nightly-29401920")) == "CronJob/nightly"
    assert owner_of(owned("ReplicaSet", "web")) == "ReplicaSet/web"
    assert owner_of(owned("StatefulSet", "db")) == "StatefulSet/db"
    assert owner_of({"metadata": {"name": "alone"}}) == "Pod/alone"
    assert owner_of({}) == ""


def marked(by: str, annotations: dict[str, str] | None = None, kind: str = "Deployment") -> dict[str, Any]:
    """A workload whose template the mesh has opted in."""
    inside = {names.INJECT: names.ENABLED, names.INJECTED_BY: by}
    return workload(kind, annotations, {"metadata": {"annotations": inside}})


@pytest.mark.parametrize(
    ("by", "before", "left"),
    [
        ("Deployment/w", None, True),
        ("operator", ON, True),
        ("operator", {}, False),
        ("operator", None, False),
        ("Deployment/other", ON, False),
    ],
    ids=["own mark", "unnamed, spoke", "unnamed, silent before", "unnamed, not known", "copied"],
)
def test_workload_leaves_when_its_word_is_taken_away(by: str, before: dict[str, str] | None, left: bool) -> None:
    """The mark of a former version names nobody: it was put in for who had the word until now, and in a copy for somebody else."""
    silent = marked(by)
    after = follow(silent, None if before is None else marked(by, before))

    found = template_of(after)
    assert found is not None
    assert (found["metadata"]["annotations"] == {}) is left


def test_rollout_is_a_workload_and_one_without_a_template_is_told_whom_to_annotate() -> None:
    """Argo's `workloadRef` takes the template of a Deployment, which can say it."""
    rollout = {"kind": "Rollout", "metadata": {"name": "web", "annotations": ON}, "spec": {"template": {}}}
    found = template_of(follow(rollout))

    assert found is not None
    assert found["metadata"]["annotations"][names.INJECTED_BY] == "Rollout/web"
    borrowed = rollout | {"spec": {"workloadRef": {"kind": "Deployment", "name": "web"}}}
    with pytest.raises(RefusedPodError, match="annotate Deployment/web instead"):
        follow(borrowed)
    assert follow(borrowed | {"metadata": {"name": "web"}}) == borrowed | {"metadata": {"name": "web"}}
