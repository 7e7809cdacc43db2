"""Pod Security: what the profiles refuse, in the words of the real plugin."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.access.admission import Admission, AdmissionRequest
from devcluster.access.podsecurity import PREFIX, violations
from devcluster.api.errors import StatusError
from devcluster.api.registry import Registry
from devcluster.api.users import User
from tests.support.objects import container, deployment, pod

SAFE = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def secured(**more: Any) -> dict[str, Any]:
    return pod("p", containers=[container(securityContext=SAFE | more)])


def test_safe_pod_passes_both_profiles() -> None:
    """What the restricted profile asks for is enough."""
    assert violations(secured(), "restricted") == []
    assert violations(secured(), "baseline") == []
    assert violations(pod("p", hostNetwork=True), "privileged") == []


def test_plain_pod_is_fine_for_baseline_alone() -> None:
    """A pod that says nothing is baseline; restricted lists all that is missing."""
    assert violations(pod("p"), "baseline") == []
    assert violations(pod("p"), "restricted") == [
        'allowPrivilegeEscalation != false (container "app" must set securityContext.allowPrivilegeEscalation=false)',
        'unrestricted capabilities (container "app" must set securityContext.capabilities.drop=["ALL"])',
        'runAsNonRoot != true (pod or container "app" must set securityContext.runAsNonRoot=true)',
        (
            'seccompProfile (pod or container "app" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
            '"Localhost")'
        ),
    ]


@pytest.mark.parametrize(
    ("bad", "profile", "said"),
    [
        (
            secured(privileged=True),
            "baseline",
            'privileged (container "app" must not set securityContext.privileged=true)',
        ),
        (
            secured(capabilities={"add": ["NET_ADMIN", "NET_RAW"]}),
            "baseline",
            (
                'non-default capabilities (container "app" must not include "NET_ADMIN", "NET_RAW" in '
                "securityContext.capabilities.add)"
            ),
        ),
        (
            secured(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}),
            "restricted",
            'unrestricted capabilities (container "app" must not include "NET_ADMIN" in securityContext.capabilities.add)',
        ),
        (secured(runAsUser=0), "restricted", 'runAsUser=0 (container "app" must not set runAsUser=0)'),
        (pod("p", hostNetwork=True, hostPID=True), "baseline", "host namespaces (hostNetwork=true, hostPID=true)"),
        (pod("p", volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "baseline", 'hostPath volumes (volume "v")'),
        (
            pod("p", volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
            "restricted",
            'restricted volume types (volume "v" uses restricted volume type "hostPath")',
        ),
        (
            pod("p", containers=[container(ports=[{"containerPort": 1, "hostPort": 80}])]),
            "baseline",
            'hostPort (container "app" uses hostPort 80)',
        ),
        (
            pod("p", containers=[container("a"), container("b")]),
            "restricted",
            (
                'allowPrivilegeEscalation != false (containers "a", "b" must set '
                "securityContext.allowPrivilegeEscalation=false)"
            ),
        ),
    ],
)
def test_violation_is_named_with_its_container(bad: dict[str, Any], profile: str, said: str) -> None:
    """Each check says which container does what."""
    assert said in violations(bad, profile)


async def test_namespace_labels_refuse_pods_and_warn_about_workloads() -> None:
    """`enforce` refuses pods; `warn` tells about pods and templates, and lets them pass."""
    registry = Registry()
    labels = {f"{PREFIX}enforce": "restricted", f"{PREFIX}warn": "restricted"}
    await registry.create("namespaces", {"metadata": {"name": "shop", "labels": labels}})
    admission, user = Admission(registry), User(name="jane")

    def request(kind: str) -> AdmissionRequest:
        row = registry.resources.find(kind)
        return AdmissionRequest(resource=row, namespace="shop", name="p", operation="CREATE", user=user)

    with pytest.raises(
        StatusError, match=r'pods "p" is forbidden: violates PodSecurity "restricted:latest": allow'
    ) as caught:
        await admission.validate(request("pods"), pod("p"))
    assert caught.value.code == 403
    await admission.validate(request("pods"), secured())
    told = request("deployments.apps")
    await admission.validate(told, deployment("p"))
    assert told.warnings[0].startswith(
        'would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
    )
