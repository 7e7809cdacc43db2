"""`tulle uninstall`: the release by Helm, then what the control plane made while it ran.

Tulle's kinds and the objects of them stay unless --crds is given: they are the user's. Sidecars that run go on with what they
know; the command names how many pods still carry one. While there are any the authority they trust stays too, for the next
installation to find, unless --ca is given: another root would strand them all.
"""

from __future__ import annotations

import time
from typing import Any

import click

from meshapi import names
from tulle import helm, output
from tulle.cli import Target
from tulle.commands.install import MADE_BY
from tulle.kube import Kube
from tulle.lookup import SYSTEM_SELECTOR, injected
from tulle.output import Failure

AUTHORITY = ("secrets/tulle-ca", "secrets/tulle-signing", "configmaps/tulle-trust")
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@click.command()
@click.option("--crds", is_flag=True, help="Also remove Tulle's kinds and every object of them.")
@click.option("--ca", is_flag=True, help="Also remove the authority that sidecars still trust.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until everything is gone.")
@click.option("--timeout", default=120, show_default=True, help="Seconds to wait.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def uninstall(target: Target, /, **options: Any) -> None:
    """Take Tulle out of the cluster."""
    kube = target.kube()
    question = {"namespace": target.system, "kubeconfig": target.kubeconfig, "context": target.context}
    try:
        with output.progress("the release, by Helm"):
            found = helm.call("uninstall", timeout=options["timeout"], wait=options["wait"], **question)["found"]
    except helm.HelmError as error:
        raise Failure(f"Helm refused: {error}") from None
    if not found and kube.find(f"/apis/apps/v1/namespaces/{target.system}/deployments/tulle") is not None:
        raise Failure(
            f"Tulle in namespace {target.system} was not installed by Helm; delete what it was applied from, "
            "e.g. kubectl delete -f manifests/install.yaml"
        )
    with output.progress("what the control plane made"):
        still = len(injected(kube))
        keep = still > 0 and not options["ca"]
        _remove_leftovers(kube, target.system, keep=keep)
        if options["wait"]:
            _await_end(kube, target.system, options["timeout"])
    if options["crds"]:
        with output.progress("Tulle's kinds and their objects"):
            for crd in _own_crds(kube):
                kube.delete(f"{_CRDS}/{crd}")
    if options["form"] == "json":
        output.as_json({"found": found, "pods_with_sidecar": still, "ca_kept": keep})
        return
    if still:
        stays = f"; the authority they trust stays in namespace {target.system} (--ca takes it too)" if keep else ""
        click.echo(
            f"{output.WARNING} {still} pods still carry a sidecar; restart their workloads to take it out{stays}",
            err=True,
        )
    click.echo("Tulle is uninstalled." if found else "Helm knew of no Tulle here; nothing of it is left.")


def _await_end(kube: Kube, system: str, timeout: int) -> None:
    """Wait until the namespace is gone if it was ours, else until the control plane's pods are."""
    deadline = time.monotonic() + timeout
    namespace = kube.find(f"/api/v1/namespaces/{system}")
    if namespace is None:
        return
    if "deletionTimestamp" in namespace["metadata"]:
        leftover = [] if kube.gone("/api/v1/namespaces", system, timeout) else [f"namespace {system}"]
    else:
        pods = f"/api/v1/namespaces/{system}/pods"
        there = [pod["metadata"]["name"] for pod in kube.items(pods, labelSelector=SYSTEM_SELECTOR)]
        leftover = [f"pod {name}" for name in there if not kube.gone(pods, name, deadline - time.monotonic())]
    if leftover:
        raise Failure(f"after {timeout} s there still is {', '.join(leftover)}")


def _own_crds(kube: Kube) -> list[str]:
    return [crd["metadata"]["name"] for crd in kube.items(_CRDS) if crd["spec"]["group"] == names.GROUP]


def _remove_leftovers(kube: Kube, system: str, *, keep: bool) -> None:
    """Remove the Mesh object and what the control plane made in its namespace, or the namespace if it was ours; the authority stays where it is to be kept."""
    kube.delete(f"/apis/{names.GROUP}/{names.VERSION}/meshes/default")
    namespace = kube.find(f"/api/v1/namespaces/{system}")
    if namespace is None:
        return
    if not keep and MADE_BY.items() <= (namespace["metadata"].get("labels") or {}).items():
        kube.delete(f"/api/v1/namespaces/{system}")
        return
    inside = f"namespaces/{system}"
    for authority in () if keep else AUTHORITY:
        kube.delete(f"/api/v1/{inside}/{authority}")
    kube.delete(f"/apis/coordination.k8s.io/v1/{inside}/leases/tulle")
