"""`tulle version`: this command's version and, where a cluster answers, the control plane's."""

from __future__ import annotations

from dataclasses import replace

import click

from meshapi import names
from tulle import output
from tulle.cli import Target
from tulle.kube import KubeError
from tulle.output import Failure

_PATIENCE = 3.0
"""Seconds a cluster may take to say its version; this command is asked for the other one as often."""


@click.command()
@click.option("--client", "client_only", is_flag=True, help="Do not ask the cluster.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def version(target: Target, *, client_only: bool, form: str) -> None:
    """Print the versions of this command and of the control plane."""
    server, reason = ("", "not asked") if client_only else control_plane(target)
    if form == "json":
        output.as_json({"client": names.PRODUCT_VERSION, "control_plane": server or None})
        return
    click.echo(f"client         {names.PRODUCT_VERSION}")
    click.echo(f"control plane  {server or f'unknown: {reason}'}")


def control_plane(target: Target) -> tuple[str, str]:
    """Find the installed version, or why it is not known."""
    try:
        kube = replace(target.kube(), timeout=_PATIENCE)
        found = kube.find(f"/apis/apps/v1/namespaces/{target.system}/deployments/tulle")
    except (KubeError, Failure) as error:
        return "", str(error)
    if found is None:
        return "", f"not installed in namespace {target.system}"
    labels = found["metadata"].get("labels") or {}
    return labels.get("app.kubernetes.io/version", ""), "the Deployment does not say"
