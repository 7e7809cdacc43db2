"""Which mTLS mode holds for each mesh pod and port.

In: the model. Out: `PodPolicy` by pod, and what each PeerAuthentication is told. The policy nearest the pod wins: one that targets it,
then the namespace's, then the Mesh; of several equally near the oldest. A port's own mode wins over the pod's. Refuses nothing;
policies that take no effect, and those that pods without a sidecar escape, are told so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.compiler.memo import Memo
from controlplane.compiler.snapshot import Condition, PodPolicy
from controlplane.model.mesh import MESH_NAME, Model
from controlplane.model.meta import Key
from controlplane.model.security import Mode, PeerAuthentication, PolicyTarget
from controlplane.model.workloads import Pod

BYPASSED = "Bypassed"
"""The condition of a STRICT policy, or Mesh, that pods without a sidecar escape; there only while some do."""
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"})
_NAMED = 5
"""How many pods a sentence names before it counts the rest."""


@dataclass(frozen=True, slots=True)
class _Scopes:
    """Policies by how near they are, the oldest of each."""

    namespaces: dict[str, PeerAuthentication] = field(default_factory=dict)
    targets: dict[tuple[str, PolicyTarget], PeerAuthentication] = field(default_factory=dict)

    @property
    def services(self) -> set[Key]:
        """Services some policy targets."""
        return {Key(namespace, target.name) for namespace, target in self.targets if target.kind == "Service"}


def _age(policy: PeerAuthentication) -> tuple[str, Key]:
    return policy.created, policy.key


def _scopes(model: Model) -> _Scopes:
    scopes = _Scopes()
    for policy in sorted(model.authentications.values(), key=_age):
        namespace = policy.key.namespace
        if not policy.targets:
            scopes.namespaces.setdefault(namespace, policy)
        for target in policy.targets:
            scopes.targets.setdefault((namespace, target), policy)
    return scopes


def compile_policies(model: Model, memo: Memo[Key, PodPolicy]) -> dict[Key, PodPolicy]:
    """Decide for every mesh pod."""
    scopes = _scopes(model)
    behind = _pods_behind(model, scopes.services)
    policies = {}
    for key, pod in model.pods.items():
        if not pod.mesh:
            continue
        nearest = _nearest(pod, scopes, behind) if scopes.targets else None
        wider = scopes.namespaces.get(key.namespace)
        decided = memo.get(
            key,
            (nearest, wider, model.mesh.mode),
            lambda n=nearest, w=wider: _decide(n, w, model),  # type: ignore[misc]
        )
        if decided is not None:
            policies[key] = decided
    return policies


def _decide(nearest: PeerAuthentication | None, wider: PeerAuthentication | None, model: Model) -> PodPolicy:
    mode = model.mesh.mode
    ports: dict[int, Mode] = {}
    for policy in (wider, nearest):
        if policy is None:
            continue
        if policy.mode is not None:
            # A nearer policy that sets the mode speaks for all ports but those it names itself.
            mode, ports = policy.mode, {}
        ports.update(policy.ports)
    return PodPolicy(mode=mode, ports=tuple(sorted(ports.items(), key=lambda item: item[0])))


def _pods_behind(model: Model, services: set[Key]) -> Mapping[Key, set[str]]:
    """Map each pod to the targeted Services it is behind."""
    behind: dict[Key, set[str]] = {}
    for one in model.slices.values():
        if one.service in services:
            for endpoint in one.endpoints:
                if endpoint.pod:
                    behind.setdefault(endpoint.pod, set()).add(one.service.name)
    return behind


def _targets(pod: Pod, behind: Mapping[Key, set[str]]) -> list[PolicyTarget]:
    """All that a policy may name and that is about this pod."""
    targets = [
        PolicyTarget(group="", kind="Pod", name=pod.key.name),
        PolicyTarget(group="", kind="ServiceAccount", name=pod.account),
        *(PolicyTarget(group="", kind="Service", name=name) for name in behind.get(pod.key, ())),
    ]
    if pod.workload_kind in _WORKLOADS:
        group = "batch" if pod.workload_kind in {"Job", "CronJob"} else "apps"
        targets.append(PolicyTarget(group=group, kind=pod.workload_kind, name=pod.workload))
    return targets


def _nearest(pod: Pod, scopes: _Scopes, behind: Mapping[Key, set[str]]) -> PeerAuthentication | None:
    namespace, targets = pod.key.namespace, _targets(pod, behind)
    found = [scopes.targets[namespace, target] for target in targets if (namespace, target) in scopes.targets]
    return min(found, key=_age, default=None)


def policy_statuses(model: Model) -> dict[Key, tuple[Condition, ...]]:
    """Tell each PeerAuthentication whether it is in force; those that cannot be read are told what is wrong. The Mesh is told under its own name."""
    scopes = _scopes(model)
    behind = _pods_behind(model, scopes.services)
    there = _those_there(model, scopes, behind)
    told: dict[Key, tuple[Condition, ...]] = {
        key: (_accepted(policy, scopes, there),) for key, policy in model.authentications.items()
    }
    for problem in model.problems:
        if problem.kind == "PeerAuthentication":
            told[Key(problem.namespace, problem.name)] = (
                Condition(type="Accepted", status=False, reason="Invalid", message=problem.message),
            )
    for key, names in _escaping(model, scopes, behind).items():
        told[key] = (*told.get(key, ()), _bypassed(names))
    return told


def _those_there(model: Model, scopes: _Scopes, behind: Mapping[Key, set[str]]) -> set[tuple[str, PolicyTarget]]:
    """Of all that policies target, what there is: Services, and what some pod belongs to."""
    found = {
        (namespace, target)
        for namespace, target in scopes.targets
        if target.kind == "Service" and Key(namespace, target.name) in model.services
    }
    namespaces = {namespace for namespace, _ in scopes.targets}
    for pod in model.pods.values():
        if pod.key.namespace in namespaces:
            found.update((pod.key.namespace, target) for target in _targets(pod, behind))
    return found


def _escaping(model: Model, scopes: _Scopes, behind: Mapping[Key, set[str]]) -> dict[Key, list[str]]:
    """Pods without a sidecar, by the policy that would make them STRICT; by the Mesh only where others of the namespace have one."""
    found: dict[Key, list[str]] = {}
    if Mode.STRICT not in {model.mesh.mode, *(policy.mode for policy in model.authentications.values())}:
        return found
    meshed = {key.namespace for key, pod in model.pods.items() if pod.mesh}
    for key, pod in model.pods.items():
        if pod.mesh or not pod.ips:
            continue
        nearest = _nearest(pod, scopes, behind) if scopes.targets else None
        deciding = next(_with_a_mode(nearest, scopes.namespaces.get(key.namespace)), None)
        if deciding is not None:
            if deciding.mode is Mode.STRICT:
                found.setdefault(deciding.key, []).append(key.name)
        elif model.mesh.mode is Mode.STRICT and key.namespace in meshed:
            found.setdefault(Key("", MESH_NAME), []).append(str(key))
    return found


def _with_a_mode(*policies: PeerAuthentication | None) -> Iterator[PeerAuthentication]:
    return (policy for policy in policies if policy is not None and policy.mode is not None)


def _bypassed(names: list[str]) -> Condition:
    named = ", ".join(sorted(names)[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    message = (
        f"STRICT does not hold for pods without a sidecar: {named}. They take plaintext from anybody; opt them in."
    )
    return Condition(type=BYPASSED, status=True, reason="NoSidecar", message=message)


def _accepted(policy: PeerAuthentication, scopes: _Scopes, there: set[tuple[str, PolicyTarget]]) -> Condition:
    namespace = policy.key.namespace
    if not policy.targets:
        winner = scopes.namespaces[namespace]
        if winner is not policy:
            message = f"{winner.key} is older and decides for the whole namespace already; delete one of the two."
            return Condition(type="Accepted", status=False, reason="Conflicted", message=message)
        message = f"In force for every mesh pod of namespace {namespace} that no nearer policy targets."
        return Condition(type="Accepted", status=True, reason="Accepted", message=message)
    for target in policy.targets:
        if (namespace, target) not in there:
            pods = "" if target.kind in {"Service", "Pod"} else "pod of "
            message = f"There is no {pods}{target} in namespace {namespace}; the policy waits for it."
            return Condition(type="Accepted", status=False, reason="TargetNotFound", message=message)
        winner = scopes.targets[namespace, target]
        if winner is not policy:
            message = f"{winner.key} is older and targets {target} already; delete one of the two."
            return Condition(type="Accepted", status=False, reason="Conflicted", message=message)
    names = ", ".join(map(str, policy.targets))
    return Condition(type="Accepted", status=True, reason="Accepted", message=f"In force for the mesh pods of {names}.")
