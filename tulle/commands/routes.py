"""`tulle routes`: what a workload's sidecar would do with a request, asked of the sidecar itself.

In: a workload and the request's host, path, method and headers, as the app would write them. Out: the sidecar's own answer, from the
configuration it runs at this moment. Nothing is computed here, so what is told is what would happen. Without a host, the
destinations and routes the sidecar holds are listed: those its app has called lately.
"""

from __future__ import annotations

from typing import Any

import click

from tulle import output
from tulle.cli import Target
from tulle.lookup import ask_sidecar, control_planes, destination, join_host, sidecar_of
from tulle.output import Failure

_HEAD_KEYS = ("destination", "protocol", "match", "route", "goes_to")


@click.command()
@click.argument("workload")
@click.option("-n", "--namespace", help="The workload's namespace (default: the kubeconfig's).")
@click.option("--host", metavar="NAME[:PORT]", help="The destination as the app writes it, e.g. web:80.")
@click.option("--path", default="/", show_default=True, help="The request's path.")
@click.option("--method", default="GET", show_default=True, help="The request's method.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="A header; may be given often.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def routes(target: Target, /, workload: str, *, namespace: str | None, host: str | None, **request: Any) -> None:
    """Tell what a workload's sidecar would do with a request; without --host, list the destinations it knows."""
    for header in request["headers"]:
        if ":" not in header:
            raise Failure(f"--header {header!r} is not of the form NAME:VALUE")
    kube = target.kube()
    inside = namespace or kube.namespace
    pod = sidecar_of(kube, inside, workload)
    replicas = control_planes(kube, target.system)
    if host is None:
        _list(ask_sidecar(kube, replicas, pod, "/config"), request["form"])
        return
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
    answer = ask_sidecar(kube, replicas, pod, "/route", query)
    if request["form"] == "json":
        output.as_json(answer)
        return
    said = f"{query['method']} {host}{query['path']}"
    click.echo(f"{said} from {inside}/{name}{f' (to {where.address})' if where.address else ''}")
    for line in lines(answer):
        click.echo(f"  {line}")


def _list(config: Any, form: str) -> None:
    rows = known_routes(config)
    if form == "json":
        output.as_json({"routes": [dict(zip(_HEAD_KEYS, row, strict=True)) for row in rows]})
    elif rows:
        output.table([key.upper().replace("_", " ") for key in _HEAD_KEYS], rows)
    else:
        click.echo("The sidecar knows no destination yet: its app has called none lately.")


def known_routes(config: Any) -> list[tuple[str, ...]]:
    """List destination, protocol, match, route and targets of every rule in a sidecar's configuration."""
    rows = []
    for listener in config["listeners"].values():
        facts = dict(listener["metadata"])
        if listener["inbound"] or "service" not in facts:
            continue
        where = f"{facts['service']}.{facts['namespace']}:{facts['port']}"
        found = [chain["filter"].get("route_name") for chain in listener["chains"]]
        tables = [config["routes"][name] for name in found if name in config["routes"]]
        rules = [rule for table in tables for host in table["hosts"] for rule in host["routes"]]
        rows += [
            (where, str(facts["protocol"]), _match(rule["match"]), rule["name"] or "-", _action(rule["action"]))
            for rule in rules
        ]
        if not rules:
            rows.append((where, str(facts["protocol"]), "everything", "-", "its endpoints"))
    return sorted(rows, key=lambda row: row[0])


def _match(match: Any) -> str:
    """Write a match in a few words."""
    paths = (("path", "{}"), ("separated_prefix", "{}/*"), ("regex", "~{}"))
    said = [form.format(match[key]) for key, form in paths if match.get(key)]
    if match.get("prefix") not in (None, "/"):
        said.append(f"{match['prefix']}*")
    if match.get("method"):
        said.append(_value(match["method"]))
    said += [f"{name}={_value(one)}" for name, one in match.get("headers") or ()]
    said += [f"?{name}={_value(one)}" for name, one in match.get("query") or ()]
    return " ".join(said) or "everything"


def _value(match: Any) -> str:
    """Write how a value must be: `x`, `x*`, `*x`, `*x*`, `~regex`, or `*` where it need only be there; `!` for the contrary."""
    forms = (("exact", "{}"), ("prefix", "{}*"), ("suffix", "*{}"), ("contains", "*{}*"), ("regex", "~{}"))
    said = next((form.format(match[key]) for key, form in forms if match.get(key) is not None), "*")
    return f"!{said}" if match.get("invert") else said


def _action(action: Any) -> str:
    """Write where a rule leads in a few words."""
    targets = action.get("targets") or ()
    if not targets:
        return f"answered {action['status']}" if action.get("status") else "an answer of its own"
    total = sum(one["weight"] for one in targets)
    if len(targets) == 1 or not total:
        return str(targets[0]["cluster"])
    return ", ".join(f"{one['cluster']} {one['weight'] / total:.0%}" for one in targets)


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
