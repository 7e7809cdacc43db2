"""`tulle install`: the chart by Helm, installed or upgraded, and the wait until the mesh takes pods.

In: values as Helm takes them. Values given before stay unless --reset is given, so an upgrade changes what it names only.
Out: a running control plane. With --wait it ends when every webhook knows its certificate: a pod made afterwards is injected.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from tulle import claims, helm, output, owning, stranding
from tulle.cli import Target
from tulle.kube import Kube, KubeError
from tulle.lookup import SYSTEM_SELECTOR, injected, is_ready, trusted_roots
from tulle.output import Failure

MADE_BY = {"app.kubernetes.io/managed-by": "tulle-cli"}
"""On a namespace this command made, so that `uninstall` takes it away again."""
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/"
CONFIGURATIONS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")


@click.command()
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A chart value; may be given often.")
@click.option(
    "-f",
    "--values",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A values file.",
)
@click.option(
    "--chart", type=click.Path(exists=True, path_type=Path), help="Another chart than the one that came along."
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the mesh takes pods.")
@click.option("--timeout", default=120, show_default=True, help="Seconds to wait.")
@click.option("--reset", is_flag=True, help="Forget the values given before.")
@click.option("--force", is_flag=True, help="Take over fields of the installation that others own.")
@click.option("--dry-run", is_flag=True, help="Print what would be installed.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def install(target: Target, /, **options: Any) -> None:
    """Install Tulle into the cluster, or upgrade it."""
    kube = target.kube()
    question = {
        "namespace": target.system,
        "kubeconfig": target.kubeconfig,
        "context": target.context,
        "chart": str(options["chart"] or helm.chart_path()),
        "set": options["assignments"],
        "values": [path.read_text() for path in options["files"]],
        "wait": options["wait"],
        "reset": options["reset"],
        "dry_run": options["dry_run"],
    }
    deadline = time.monotonic() + options["timeout"]
    if not options["dry_run"] and options["form"] == "text":
        warn_of_stranding(kube, target.system)
    try:
        if options["dry_run"]:
            click.echo(helm.call("install", timeout=options["timeout"], **question)["manifest"])
            return
        with output.progress(f"namespace {target.system}"):
            ensure_namespace(kube, target.system, deadline)
        with output.progress("the chart, by Helm"):
            answer = _by_helm(kube, question, options)
    except helm.HelmError as error:
        raise Failure(f"Helm refused: {error}{why_not_ready(kube, target.system)}") from None
    if options["wait"]:
        with output.progress("the webhooks know the control plane"):
            await_webhooks(kube, deadline)
        if options["form"] == "text":
            tell_stranded(kube, target.system)
    if options["form"] == "json":
        output.as_json({"revision": answer["revision"], "status": answer["status"], "namespace": target.system})
        return
    click.echo(
        f"Tulle is installed (revision {answer['revision']}). Next: kubectl annotate deployment <name> tulle.dev/inject=enabled"
    )


def _by_helm(kube: Kube, question: dict[str, Any], options: dict[str, Any]) -> helm.Answer:
    """Have Helm install; a field somebody else owns is named, or taken over with --force. Raises HelmError or Failure."""
    taken: set[owning.Conflict] = set()
    while True:
        try:
            return helm.call("install", timeout=options["timeout"], **question)
        except helm.HelmError as error:
            conflict = owning.conflict_in(str(error))
            if conflict is None or conflict in taken:
                raise
            if not options["force"]:
                raise Failure(
                    f"{conflict}, and the chart sets it too: leave it to them and drop the value, or take it over by tulle install --force"
                ) from None
            owning.take_over(kube, conflict)
            taken.add(conflict)
            click.echo(f"{output.WARNING} taken over: {conflict}", err=True)


def warn_of_stranding(kube: Kube, system: str) -> None:
    """Say, before another root is made, whose sidecars would not trust it; nothing where the authority they trust is there."""
    if kube.find(f"/api/v1/namespaces/{system}/configmaps/tulle-trust") is not None:
        return
    found = stranding.stranded(injected(kube), "")
    if found:
        named = claims.some(["/".join(workload) for workload in found])
        click.echo(
            f"{output.WARNING} there are sidecars of {named}, and the roots they trust are not in namespace {system}. "
            "Unless Secret tulle-ca has one of them they will not trust this control plane, and calls fail as workloads roll; they must be made anew.",
            err=True,
        )


def tell_stranded(kube: Kube, system: str) -> None:
    """Say whose sidecars do not trust the control plane that is there now, and how to make them anew."""
    found = stranding.stranded(injected(kube), trusted_roots(kube, system))
    if found:
        click.echo(
            f"{output.WARNING} sidecars were made with other roots than this control plane has. Make them anew:",
            err=True,
        )
        for line in stranding.remedies(found):
            click.echo(f"    {line}", err=True)


def why_not_ready(kube: Kube, system: str) -> str:
    """Say what keeps the control plane's youngest pod from being ready, with its last words; empty when nothing is known."""
    try:
        pods = kube.items(f"/api/v1/namespaces/{system}/pods", labelSelector=SYSTEM_SELECTOR)
        waiting = [pod for pod in pods if not is_ready(pod)]
        if not waiting:
            return ""
        pod = max(waiting, key=lambda one: str(one["metadata"].get("creationTimestamp")))
        name = pod["metadata"]["name"]
        log = kube.request("GET", f"/api/v1/namespaces/{system}/pods/{name}/log", query={"tailLines": "1"})
    except KubeError:
        return ""
    states = [(status.get("state") or {}) for status in (pod.get("status") or {}).get("containerStatuses") or ()]
    reasons = [state["waiting"].get("reason", "") for state in states if state.get("waiting")]
    words = log.decode(errors="replace").strip()
    return f"; pod {name} is {', '.join(reasons) or 'not ready'}{f', its last words: {words}' if words else ''}"


def ensure_namespace(kube: Kube, name: str, deadline: float) -> None:
    """Make the control plane's namespace unless it is there; one that is going away is waited for."""
    found = kube.find(f"/api/v1/namespaces/{name}")
    if found is not None and "deletionTimestamp" in found["metadata"]:
        if not kube.gone("/api/v1/namespaces", name, deadline - time.monotonic()):
            raise Failure(
                f"namespace {name} is being deleted and does not go away; see kubectl get namespace {name} -o yaml"
            )
        found = None
    if found is None:
        # The control plane itself needs no exemption from anything.
        metadata = {"name": name, "labels": MADE_BY | {"pod-security.kubernetes.io/enforce": "restricted"}}
        try:
            kube.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        except KubeError as error:
            if error.code != 409:
                raise


def await_webhooks(kube: Kube, deadline: float) -> None:
    """Follow the webhook configurations until each has its caBundle; raises Failure when it is too late."""
    for plural in CONFIGURATIONS:
        missing = ["its webhooks"]
        while missing:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"{plural}/tulle has no caBundle for {', '.join(missing)}; see `tulle check`")
            for _, found in kube.watch(_WEBHOOKS + plural, left, fieldSelector="metadata.name=tulle"):
                missing = claims.without_bundle(found)
                if not missing:
                    break
