"""`tulle routes`: what a workload's sidecar would do with a request, asked of the sidecar itself.

In: a workload and the request's host, path, method and headers, as the app would write them. Out: the sidecar's own answer, from the
configuration it runs at this moment. Nothing is computed here, so what is told is what would happen.
"""

from __future__ import annotations

from typing import Any

import click

from meshapi import names
from tulle import output
from tulle.cli import Target
from tulle.lookup import ask_pod, destination, join_host, sidecar_of
from tulle.output import Failure


@click.command()
@click.argument("workload")
@click.option("-n", "--namespace", help="The workload's namespace (default: the kubeconfig's).")
@click.option("--host", required=True, metavar="NAME[:PORT]", help="The destination as the app writes it, e.g. web:80.")
@click.option("--path", default="/", show_default=True, help="The request's path.")
@click.option("--method", default="GET", show_default=True, help="The request's method.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header; may be given often.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def routes(target: Target, /, workload: str, *, namespace: str | None, host: str, **request: Any) -> None:
    """Tell what a workload's sidecar would do with a request."""
    for header in request["headers"]:
        if ":" not in header:
            raise Failure(f"--header {header!r} is not of the form NAME:VALUE")
    kube = target.kube()
    inside = namespace or kube.namespace
    pod = sidecar_of(kube, inside, workload)
    where = destination(kube, inside, host)
    query: dict[str, str | list[str]] = {
        "host": join_host(where.host, where.port),
        "path": request["path"],
        "method": request["method"].upper(),
        "header": list(request["headers"]),
    }
    if where.address:
        query["address"] = where.address
    name = pod["metadata"]["name"]
    answer = ask_pod(kube, pod, names.PROXY_ADMIN_PORT, "/route", query)
    if request["form"] == "json":
        output.as_json(answer)
        return
    said = f"{query['method']} {host}{query['path']}"
    click.echo(f"{said} from {inside}/{name}{f' (to {where.address})' if where.address else ''}")
    for line in lines(answer):
        click.echo(f"  {line}")


def lines(value: Any, name: str = "") -> list[str]:
    """Write a JSON value as indented lines, leaving out what is empty."""
    if value in (None, "", [], {}):
        return []
    if isinstance(value, dict):
        inner = [line for key, one in value.items() for line in lines(one, key.replace("_", " "))]
        return [f"{name}:", *(f"  {line}" for line in inner)] if name else inner
    if isinstance(value, list):
        if not any(isinstance(one, dict | list) for one in value):
            return [f"{name}: {', '.join(str(one) for one in value)}"]
        inner = []
        for one in value:
            first, *rest = lines(one) or ["(nothing)"]
            inner += [f"- {first}", *(f"  {line}" for line in rest)]
        return [f"{name}:", *(f"  {line}" for line in inner)]
    said = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
    return [f"{name}: {said}" if name else str(said)]
