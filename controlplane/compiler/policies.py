"""Which mTLS mode holds for each mesh pod and port.

In: the model, its policies sorted, its indexes. Out: a pod's `PodPolicy`, and what the PeerAuthentications of a namespace are told. The policy nearest the pod wins: one that targets it,
then the namespace's, then the Mesh; of several equally near the oldest. A port's own mode wins over the pod's. Refuses nothing;
policies that take no effect, and those that pods without a sidecar escape, are told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.compiler.indexes import Indexes
from controlplane.compiler.snapshot import Condition, PodPolicy
from controlplane.model.mesh import Model
from controlplane.model.meta import Key, Problem
from controlplane.model.security import Mode, PeerAuthentication, PolicyTarget
from controlplane.model.workloads import Pod

BYPASSED = "Bypassed"
"""The condition of a STRICT policy, or Mesh, that pods without a sidecar escape; there only while some do."""
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"})
_NAMED = 5
"""How many pods a sentence names before it counts the rest."""


@dataclass(frozen=True, slots=True)
class Scopes:
    """Policies by how near they are, the oldest of each."""

    members: dict[str, list[PeerAuthentication]] = field(default_factory=dict)
    """All of a namespace."""
    namespaces: dict[str, PeerAuthentication] = field(default_factory=dict)
    targets: dict[tuple[str, PolicyTarget], PeerAuthentication] = field(default_factory=dict)
    services: set[Key] = field(default_factory=set)
    """Services some policy targets."""


def _age(policy: PeerAuthentication) -> tuple[str, Key]:
    return policy.created, policy.key


def scopes_of(authentications: Mapping[Key, PeerAuthentication]) -> Scopes:
    """Sort policies by how near they are."""
    scopes = Scopes()
    for policy in sorted(authentications.values(), key=_age):
        namespace = policy.key.namespace
        scopes.members.setdefault(namespace, []).append(policy)
        if not policy.targets:
            scopes.namespaces.setdefault(namespace, policy)
        for target in policy.targets:
            scopes.targets.setdefault((namespace, target), policy)
            if target.kind == "Service":
                scopes.services.add(Key(namespace, target.name))
    return scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which policies reach a pod."""

    model: Model
    scopes: Scopes
    indexes: Indexes

    def policy(self, key: Key) -> PodPolicy | None:
        """Decide for a pod; None for one without a sidecar."""
        pod = self.model.pods.get(key)
        if pod is None or not pod.mesh:
            return None
        return _decide(self.nearest(pod), self.scopes.namespaces.get(key.namespace), self.model)

    def nearest(self, pod: Pod) -> PeerAuthentication | None:
        """The policy that targets a pod; the oldest of several."""
        if not self.scopes.targets:
            return None
        namespace = pod.key.namespace
        found = [self.scopes.targets.get((namespace, target)) for target in self.targets(pod)]
        return min(filter(None, found), key=_age, default=None)

    def targets(self, pod: Pod) -> list[PolicyTarget]:
        """All that a policy may name and that is about this pod."""
        targets = [
            PolicyTarget(group="", kind="Pod", name=pod.key.name),
            PolicyTarget(group="", kind="ServiceAccount", name=pod.account),
            *(PolicyTarget(group="", kind="Service", name=one.name) for one in self._behind(pod.key)),
        ]
        if pod.workload_kind in _WORKLOADS:
            group = "batch" if pod.workload_kind in {"Job", "CronJob"} else "apps"
            targets.append(PolicyTarget(group=group, kind=pod.workload_kind, name=pod.workload))
        return targets

    def _behind(self, key: Key) -> Iterator[Key]:
        """Name the targeted Services a pod is behind."""
        if self.scopes.services:
            for one in self.indexes.slices_with.get(key, ()):
                service = self.model.slices[one].service
                if service in self.scopes.services:
                    yield service


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the policies of one namespace are told, and which of its pods the Mesh's own mode does not reach."""

    told: Mapping[Key, tuple[Condition, ...]]
    bare: tuple[str, ...] = ()


def standing(namespace: str, reach: Reach) -> Standing | None:
    """Tell each PeerAuthentication of a namespace whether it is in force; None where nobody is to be told anything."""
    model, scopes = reach.model, reach.scopes
    policies = scopes.members.get(namespace, [])
    if not policies and model.mesh.mode is not Mode.STRICT:
        return None
    pods = [model.pods[key] for key in reach.indexes.pods_in.get(namespace, ())]
    there = _those_there(policies, pods, reach)
    escaping, bare = _escaping(policies, pods, reach)
    told: dict[Key, tuple[Condition, ...]] = {}
    for policy in policies:
        names = escaping.get(policy.key)
        told[policy.key] = (_accepted(policy, scopes, there), *((_bypassed(names),) if names else ()))
    return Standing(told=told, bare=tuple(sorted(bare))) if told or bare else None


def _those_there(policies: Iterable[PeerAuthentication], pods: Iterable[Pod], reach: Reach) -> set[PolicyTarget]:
    """Of all that some policies target, what there is: Services, and what some pod belongs to."""
    wanted = {target for policy in policies for target in policy.targets}
    if not wanted:
        return wanted
    namespace = next(iter(policies)).key.namespace
    found = {one for one in wanted if one.kind == "Service" and Key(namespace, one.name) in reach.model.services}
    return found | {target for pod in pods for target in reach.targets(pod) if target in wanted}


def _escaping(
    policies: Iterable[PeerAuthentication], pods: Iterable[Pod], reach: Reach
) -> tuple[dict[Key, list[str]], list[str]]:
    """Pods without a sidecar, by the policy that would make them STRICT; and those of the Mesh, where others of the namespace have one."""
    found: dict[Key, list[str]] = {}
    bare: list[str] = []
    strict = reach.model.mesh.mode is Mode.STRICT
    if not strict and all(policy.mode is not Mode.STRICT for policy in policies):
        return found, bare
    meshed = any(pod.mesh for pod in pods)
    for pod in pods:
        if pod.mesh or not pod.ips:
            continue
        deciding = next(_with_a_mode(reach.nearest(pod), reach.scopes.namespaces.get(pod.key.namespace)), None)
        if deciding is not None:
            if deciding.mode is Mode.STRICT:
                found.setdefault(deciding.key, []).append(pod.key.name)
        elif strict and meshed:
            bare.append(str(pod.key))
    return found, bare


def unreadable(problems: Iterable[Problem]) -> dict[Key, tuple[Condition, ...]]:
    """Tell policies that cannot be read what is wrong."""
    return {
        Key(one.namespace, one.name): (Condition(type="Accepted", status=False, reason="Invalid", message=one.message),)
        for one in problems
        if one.kind == "PeerAuthentication"
    }


def bypassed(standings: Iterable[Standing]) -> tuple[Condition, ...]:
    """Tell the Mesh of the pods its mode does not reach."""
    names = [name for one in standings for name in one.bare]
    return (_bypassed(names),) if names else ()


def _with_a_mode(*policies: PeerAuthentication | None) -> Iterator[PeerAuthentication]:
    return (policy for policy in policies if policy is not None and policy.mode is not None)


def _bypassed(names: list[str]) -> Condition:
    named = ", ".join(sorted(names)[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    message = (
        f"STRICT does not hold for pods without a sidecar: {named}. They take plaintext from anybody; opt them in."
    )
    return Condition(type=BYPASSED, status=True, reason="NoSidecar", message=message)


def _accepted(policy: PeerAuthentication, scopes: Scopes, there: set[PolicyTarget]) -> Condition:
    namespace = policy.key.namespace
    if not policy.targets:
        winner = scopes.namespaces[namespace]
        if winner is not policy:
            message = f"{winner.key} is older and decides for the whole namespace already; delete one of the two."
            return Condition(type="Accepted", status=False, reason="Conflicted", message=message)
        message = f"In force for every mesh pod of namespace {namespace} that no nearer policy targets."
        return Condition(type="Accepted", status=True, reason="Accepted", message=message)
    for target in policy.targets:
        if target not in there:
            pods = "" if target.kind in {"Service", "Pod"} else "pod of "
            message = f"There is no {pods}{target} in namespace {namespace}; the policy waits for it."
            return Condition(type="Accepted", status=False, reason="TargetNotFound", message=message)
        winner = scopes.targets[namespace, target]
        if winner is not policy:
            message = f"{winner.key} is older and targets {target} already; delete one of the two."
            return Condition(type="Accepted", status=False, reason="Conflicted", message=message)
    names = ", ".join(map(str, policy.targets))
    return Condition(type="Accepted", status=True, reason="Accepted", message=f"In force for the mesh pods of {names}.")
