"""`tulle inject`: the sidecar put into manifests by the webhook's own code, with no cluster needed.

In: YAML or JSON of pods, workloads and anything else, from files or standard input (`-`). Out: the same with the sidecar in every pod
and pod template that is not opted out, on standard output; on standard error, what was done to each. The roots of the
certificate authority are read from the cluster if there is one; otherwise the webhook fills them in when the manifest is applied.
"""

from __future__ import annotations

from typing import IO, Any

import click
import yaml

from controlplane.inject.optin import untouched
from controlplane.inject.options import InjectSettings
from controlplane.inject.patch import inject as inject_pod
from controlplane.inject.refusal import RefusedPodError
from controlplane.inject.workload import template_of
from controlplane.settings import ProxyDefaults
from meshapi import names
from tulle import output
from tulle.cli import Target
from tulle.kube import KubeError
from tulle.lookup import trusted_roots
from tulle.output import FAILED, OK, WARNING, Failure

Object = dict[str, Any]
Files = tuple[IO[str], ...]

_ASKED_FOR = {names.INJECT: names.ENABLED}
"""Whoever runs this wants the sidecar in, unless the pod itself says no."""


@click.command()
@click.argument("files", nargs=-1, type=click.File("r"), metavar="[FILE]...")
@click.option("-f", "--filename", "more", multiple=True, type=click.File("r"), help="The same, as kubectl writes it.")
@click.option("--image", default=ProxyDefaults().image, show_default=True, help="The sidecar's image.")
@click.option("--trust-domain", default="cluster.local", show_default=True, help="The mesh's trust domain.")
@click.option("--offline", is_flag=True, help="Do not ask the cluster for its roots.")
@click.option("-o", "--output", "form", type=click.Choice(["yaml", "json"]), default="yaml")
@click.pass_obj
def inject(target: Target, /, files: Files, more: Files, *, form: str, **options: Any) -> None:
    """Put the sidecar into manifests, as the webhook would; FILE may be - for standard input."""
    if not files and not more:
        raise click.UsageError("give a FILE, or - for standard input")
    settings = InjectSettings(
        proxy=ProxyDefaults(image=options["image"]),
        xds_address=f"tulle.{target.system}.svc:{names.XDS_PORT}",
        trust_domain=options["trust_domain"],
        ca_roots="" if options["offline"] else _roots(target),
        excluded_namespaces=untouched(target.system),
    )
    injected = [done for file in (*files, *more) for done in _inject_file(file, settings)]
    if form == "json":
        output.as_json(injected[0] if len(injected) == 1 else {"apiVersion": "v1", "kind": "List", "items": injected})
    else:
        click.echo(yaml.safe_dump_all(injected, sort_keys=False), nl=False)


def _inject_file(file: IO[str], settings: InjectSettings) -> list[Object]:
    """Inject every document of a file; raises Failure."""
    try:
        documents = [document for document in yaml.safe_load_all(file) if document is not None]
        return [_inject_document(document, settings) for document in documents]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Failure(f"{file.name} is no YAML: {' '.join(str(error).split())}") from None
    except RefusedPodError as error:
        raise Failure(str(error)) from None


def _roots(target: Target) -> str:
    """Read the roots trusted now; none where there is no cluster."""
    try:
        return trusted_roots(target.kube(), target.system)
    except (KubeError, Failure):
        return ""


def _inject_document(document: Object, settings: InjectSettings) -> Object:
    """Inject one object, or each of a List."""
    if not isinstance(document, dict):
        raise Failure(f"a manifest is an object, not {type(document).__name__}")
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        return document | {"items": [_inject_document(item, settings) for item in document["items"]]}
    pod = document if document.get("kind") == "Pod" else template_of(document)
    if pod is None or not isinstance(pod.get("spec"), dict):
        return document
    kind, name = str(document.get("kind")), str((document.get("metadata") or {}).get("name", "?"))
    namespace = str((document.get("metadata") or {}).get("namespace", ""))
    done = inject_pod(pod, settings, namespace=namespace, namespace_labels=_ASKED_FOR, workload=f"{kind}/{name}")
    what = f"{kind.lower()}/{name}"
    if done.injected:
        click.echo(f"{OK} {what} injected", err=True)
    else:
        click.echo(f"{WARNING} {what} skipped: {done.skipped or 'opted out'}", err=True)
    for warning in done.warnings:
        click.echo(f"{FAILED} {what}: {warning}", err=True)
    if done.injected:
        # The webhook renews what is in here (the roots, say) when the pod is made, so the pod must ask for it itself.
        done.pod["metadata"]["annotations"].setdefault(names.INJECT, names.ENABLED)
    if pod is document:
        return done.pod
    pod.clear()
    pod.update(done.pod)
    return document
