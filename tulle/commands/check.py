"""`tulle check`: is this a cluster Tulle can go into, and if it is there, is the mesh well.

In: what the API server, the control plane and the sidecars say, twice. Out: a line for each claim, ✓ where it holds, ‼ where it limps, ✗ where it does not, with
what to do. Exit code 1 when a claim does not hold. The claims are functions of facts: `claims` of objects, `proofs`, `pacing`, `judging`, `blaming`, `trusting` and `opting` of two looks.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import click

from tulle import blaming, claims, greeting, judging, looks, opting, output, pacing, proofs, trusting
from tulle.cli import Target
from tulle.kube import Kube
from tulle.lookup import SYSTEM_SELECTOR

_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_GATEWAY_API = "gateway.networking.k8s.io"
_ROUTES = frozenset({"httproutes", "grpcroutes", "tlsroutes", "tcproutes"})
_RIGHTS = (
    ("", "namespaces"),
    ("apps", "deployments"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
)
"""What installing makes that only an administrator may make."""


@click.command()
@click.option("--pre", is_flag=True, help="Only whether the cluster can take Tulle.")
@click.option(
    "--look",
    "seconds",
    type=click.FloatRange(0, 600),
    default=4.0,
    show_default=True,
    help="Seconds between two looks at the mesh: what is wrong in both is wrong, and errors are counted between them.",
)
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def check(target: Target, *, pre: bool, seconds: float, form: str) -> None:
    """Tell whether the cluster can take Tulle, and prove whether the mesh is well: by two looks, and by a pod made as a dry run.

    Exit code 0 when every claim holds or only limps, 1 when one does not hold.
    """
    kube = target.kube()
    told = claims.of_cluster(_cluster(kube))
    deployment = None if pre else kube.find(f"/apis/apps/v1/namespaces/{target.system}/deployments/tulle")
    if deployment is not None:
        told += _of_mesh(kube, target.system, deployment, seconds)
    elif not pre:
        told.append(claims.not_installed(target.system))
    failed = any(claim.status == output.FAILED for claim in told)
    if form == "json":
        output.as_json({"ok": not failed, "checks": [claim.as_dict() for claim in told]})
    else:
        _tell(told)
    sys.exit(1 if failed else 0)


def _of_mesh(kube: Kube, system: str, deployment: claims.Object, seconds: float) -> list[claims.Claim]:
    """Look, try a pod while time passes, look again."""
    began = time.monotonic()
    first = looks.look(kube, system)
    facts = _mesh(kube, system, deployment)
    with ThreadPoolExecutor(2) as pool:  # a webhook that hangs takes its time beside the rest
        trying = pool.submit(opting.attempt, kube, opting.where_to_try(first, facts.mutating, system))
        trust = kube.find(f"/api/v1/namespaces/{system}/configmaps/tulle-trust")
        namespaces = kube.items("/api/v1/namespaces")
        greeted = greeting.greet(kube, system, greeting.pairs(first))
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        judging_again = pool.submit(_configured, kube, facts.kinds)
        second = looks.look(kube, system, sorted(first.sidecars))
        judged = judging_again.result()
        trial = trying.result()
    again = greeting.greet(kube, system, [pair for pair, one in greeted.items() if one.failed])
    hooks = [one for one in (facts.mutating, facts.validating) if one is not None]
    return [
        *claims.of_mesh(facts),
        *trusting.of_trust(first, second, trust, hooks),
        opting.of_trial(trial),
        opting.of_pods(first, second, namespaces, facts.mutating, system),
        *proofs.of_looks(first, second),
        *pacing.of_time(first, second),
        *judging.of_generations(facts.configured.all, judged.all),
        *blaming.of_errors(first, second),
        greeting.of_greetings(second, greeted, again),
    ]


def _tell(told: list[claims.Claim]) -> None:
    for claim in told:
        click.echo(f"{claim.status} {claim.text}{f' ({claim.detail})' if claim.detail else ''}")
        if claim.advice and claim.status != output.OK:
            click.echo(f"    {claim.advice}")
    counts = {status: sum(claim.status == status for claim in told) for status in (output.WARNING, output.FAILED)}
    if any(counts.values()):
        click.echo(f"\n{counts[output.FAILED]} failed, {counts[output.WARNING]} to look at, of {len(told)} checks.")
    else:
        click.echo(f"\nAll {len(told)} checks hold.")


def _cluster(kube: Kube) -> claims.ClusterFacts:
    version = kube.get("/version")
    return claims.ClusterFacts(
        server=kube.server,
        version=str(version.get("gitVersion", "")),
        gateway_kinds=tuple(r["name"] for r in (kube.find(f"/apis/{_GATEWAY_API}/v1") or {}).get("resources", ())),
        forbidden=tuple(f"{plural}.{group}".rstrip(".") for group, plural in _RIGHTS if not _may(kube, group, plural)),
    )


def _may(kube: Kube, group: str, plural: str) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"group": group, "resource": plural, "verb": "create"}},
    }
    answer = kube.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    return bool((answer.get("status") or {}).get("allowed"))


def _mesh(kube: Kube, system: str, deployment: claims.Object) -> claims.MeshFacts:
    kinds = tuple(kube.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"))
    return claims.MeshFacts(
        deployment=deployment,
        replicas=tuple(kube.items(f"/api/v1/namespaces/{system}/pods", labelSelector=SYSTEM_SELECTOR)),
        kinds=kinds,
        configured=_configured(kube, kinds),
        mutating=kube.find(f"{_ADMISSION}/mutatingwebhookconfigurations/tulle"),
        validating=kube.find(f"{_ADMISSION}/validatingwebhookconfigurations/tulle"),
    )


def _configured(kube: Kube, kinds: Sequence[claims.Object]) -> claims.Configured:
    """Read what the control plane judges."""
    return claims.Configured(
        mesh=kube.find("/apis/tulle.dev/v1alpha1/meshes/default"),
        routes=tuple(route for path in _routes(kinds) for route in kube.items(path)),
        policies=tuple(kube.items("/apis/tulle.dev/v1alpha1/peerauthentications")),
    )


def _routes(kinds: Sequence[claims.Object]) -> list[str]:
    """Where the cluster serves the kinds of routes there are."""
    found = []
    for spec in (crd["spec"] for crd in kinds):
        plural = (spec.get("names") or {}).get("plural")
        served = [one for one in spec.get("versions") or () if one.get("served")]
        if spec["group"] == _GATEWAY_API and plural in _ROUTES and served:
            version = max(served, key=lambda one: bool(one.get("storage")))["name"]
            found.append(f"/apis/{_GATEWAY_API}/{version}/{plural}")
    return found
