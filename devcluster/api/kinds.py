"""What is served: a row a kind. Definitions of custom resources add rows while the server runs.

In: the table below and `Resources.add`. Out: lookup by group and plural, by group and kind, or by the name kubectl uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from devcluster.api.errors import Object, StatusError

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One served kind."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str = ""
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    """Served versions, the preferred one first; `version` is the one objects are stored in."""
    verbs: tuple[str, ...] = VERBS
    generation: bool = False
    """Whether `metadata.generation` counts changes of the spec."""
    definition: Object | None = None
    """The CustomResourceDefinition a row came from."""

    @property
    def key(self) -> tuple[str, str]:
        """Group and plural, the name of the kind in the store."""
        return self.group, self.plural

    @property
    def name(self) -> str:
        """`deployments.apps`, or `pods`: as errors and kubectl say it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def custom(self) -> bool:
        """Whether a CustomResourceDefinition made it."""
        return self.definition is not None


def _rows(text: str) -> list[Resource]:
    found = []
    for line in filter(str.strip, text.strip().splitlines()):
        group_version, plural, kind, *more = line.split()
        group, _, version = group_version.rpartition("/")
        options = dict(part.split("=", 1) for part in more)
        found.append(
            Resource(
                group=group,
                version=version,
                plural=plural,
                kind=kind,
                singular=kind.lower(),
                short_names=tuple(filter(None, options.get("short", "").split(","))),
                namespaced="scope" not in options,
                subresources=tuple(filter(None, options.get("sub", "").split(","))),
                categories=tuple(filter(None, options.get("in", "").split(","))),
                versions=(version,),
                verbs=tuple(options["verbs"].split(",")) if "verbs" in options else VERBS,
                generation="spec" in options,
            )
        )
    return found


_TABLE = """
v1 namespaces Namespace short=ns scope=cluster sub=status,finalize verbs=create,delete,get,list,patch,update,watch
v1 nodes Node short=no scope=cluster sub=status,proxy
v1 pods Pod short=po in=all spec=1 sub=status,log,exec,attach,portforward,proxy,eviction,binding
v1 services Service short=svc in=all sub=status,proxy
v1 endpoints Endpoints short=ep
v1 configmaps ConfigMap short=cm
v1 secrets Secret
v1 serviceaccounts ServiceAccount short=sa sub=token
v1 events Event short=ev
v1 persistentvolumeclaims PersistentVolumeClaim short=pvc sub=status
v1 persistentvolumes PersistentVolume short=pv scope=cluster sub=status
v1 replicationcontrollers ReplicationController short=rc in=all spec=1 sub=status,scale
v1 resourcequotas ResourceQuota short=quota sub=status
v1 limitranges LimitRange short=limits
events.k8s.io/v1 events Event short=ev
apps/v1 deployments Deployment short=deploy in=all spec=1 sub=status,scale
apps/v1 replicasets ReplicaSet short=rs in=all spec=1 sub=status,scale
apps/v1 statefulsets StatefulSet short=sts in=all spec=1 sub=status,scale
apps/v1 daemonsets DaemonSet short=ds in=all spec=1 sub=status
apps/v1 controllerrevisions ControllerRevision
batch/v1 jobs Job in=all spec=1 sub=status
batch/v1 cronjobs CronJob short=cj in=all spec=1 sub=status
autoscaling/v2 horizontalpodautoscalers HorizontalPodAutoscaler short=hpa in=all sub=status
policy/v1 poddisruptionbudgets PodDisruptionBudget short=pdb spec=1 sub=status
networking.k8s.io/v1 networkpolicies NetworkPolicy short=netpol spec=1
networking.k8s.io/v1 ingresses Ingress short=ing spec=1 sub=status
networking.k8s.io/v1 ingressclasses IngressClass scope=cluster spec=1
discovery.k8s.io/v1 endpointslices EndpointSlice
coordination.k8s.io/v1 leases Lease
rbac.authorization.k8s.io/v1 roles Role
rbac.authorization.k8s.io/v1 rolebindings RoleBinding
rbac.authorization.k8s.io/v1 clusterroles ClusterRole scope=cluster
rbac.authorization.k8s.io/v1 clusterrolebindings ClusterRoleBinding scope=cluster
admissionregistration.k8s.io/v1 mutatingwebhookconfigurations MutatingWebhookConfiguration scope=cluster spec=1 in=api-extensions
admissionregistration.k8s.io/v1 validatingwebhookconfigurations ValidatingWebhookConfiguration scope=cluster spec=1 in=api-extensions
admissionregistration.k8s.io/v1 validatingadmissionpolicies ValidatingAdmissionPolicy scope=cluster spec=1 in=api-extensions sub=status
admissionregistration.k8s.io/v1 validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding scope=cluster spec=1 in=api-extensions
apiextensions.k8s.io/v1 customresourcedefinitions CustomResourceDefinition short=crd,crds scope=cluster spec=1 in=api-extensions sub=status
apiregistration.k8s.io/v1 apiservices APIService scope=cluster in=api-extensions sub=status
scheduling.k8s.io/v1 priorityclasses PriorityClass short=pc scope=cluster spec=1
flowcontrol.apiserver.k8s.io/v1 flowschemas FlowSchema scope=cluster spec=1 sub=status
flowcontrol.apiserver.k8s.io/v1 prioritylevelconfigurations PriorityLevelConfiguration scope=cluster spec=1 sub=status
storage.k8s.io/v1 storageclasses StorageClass short=sc scope=cluster
authentication.k8s.io/v1 tokenreviews TokenReview scope=cluster verbs=create
authentication.k8s.io/v1 selfsubjectreviews SelfSubjectReview scope=cluster verbs=create
authorization.k8s.io/v1 subjectaccessreviews SubjectAccessReview scope=cluster verbs=create
authorization.k8s.io/v1 selfsubjectaccessreviews SelfSubjectAccessReview scope=cluster verbs=create
authorization.k8s.io/v1 selfsubjectrulesreviews SelfSubjectRulesReview scope=cluster verbs=create
authorization.k8s.io/v1 localsubjectaccessreviews LocalSubjectAccessReview verbs=create
"""


class Resources:
    """The rows in service."""

    def __init__(self) -> None:
        self._by_plural: dict[tuple[str, str], Resource] = {}
        for row in _rows(_TABLE):
            self.add(row)

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._by_plural.values()))

    def add(self, resource: Resource) -> None:
        """Serve a kind, or serve it anew."""
        self._by_plural[resource.key] = resource

    def remove(self, group: str, plural: str) -> None:
        """Serve a kind no longer."""
        self._by_plural.pop((group, plural), None)

    def by_plural(self, group: str, plural: str) -> Resource | None:
        """Look up as URLs name it."""
        return self._by_plural.get((group, plural))

    def by_kind(self, group: str, kind: str) -> Resource | None:
        """Look up as objects name it."""
        return next((row for row in self if row.group == group and row.kind == kind), None)

    def of(self, obj: Object) -> Resource | None:
        """Look up the kind of an object."""
        return self.by_kind(str(obj.get("apiVersion", "")).rpartition("/")[0], str(obj.get("kind", "")))

    def find(self, name: str) -> Resource:
        """Look up `pods` or `deployments.apps`; raises StatusError(404)."""
        plural, _, group = name.partition(".")
        found = self.by_plural(group, plural)
        if found is None:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        return found
