"""`tulle proxy-status`: every sidecar the control plane knows, from all replicas together.

In: `/proxies` of each replica, through the API server, and what sidecars that no replica knows say of themselves. Out: a table, or JSON for programs.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import click

from tulle import output
from tulle.cli import Target
from tulle.lookup import proxies, strays
from tulle.moments import span, when

Object = dict[str, Any]

HEAD = ("NAMESPACE", "POD", "CONNECTED", "CONFIG", "PASSED OVER", "CERTIFICATE", "VERSION", "CONTROL PLANE")


@click.command("proxy-status")
@click.option("-n", "--namespace", help="Only sidecars of this namespace.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text")
@click.pass_obj
def proxy_status(target: Target, *, namespace: str | None, form: str) -> None:
    """List the sidecars: connected, up to date, certificate."""
    kube = target.kube()
    every = proxies(kube, target.system)
    found = [p for p in every + strays(kube, every) if namespace in (None, p["namespace"])]
    if form == "json":
        output.as_json({"proxies": found})
        return
    if not found:
        click.echo("No sidecar is connected.")
        return
    now = dt.datetime.now(dt.UTC)
    output.table(HEAD, [_row(proxy, now) for proxy in found])


def _row(proxy: Object, now: dt.datetime) -> tuple[str, ...]:
    return (
        str(proxy["namespace"]),
        str(proxy["pod"]),
        _distance(proxy.get("connected_since"), now) if proxy.get("connected_since") else "NO",
        _config(proxy.get("resources") or {}) if proxy.get("connected_since") else _stray(proxy),
        _passed_over(proxy.get("passed_over") or []),
        _certificate(proxy.get("certificate_expires_at"), now),
        str(proxy.get("version") or "?"),
        str(proxy.get("control_plane") or "-"),
    )


def _config(resources: Object) -> str:
    """Tell in a word whether the sidecar runs what it was sent."""
    refused = [f"{_short(name)}: {one['nacked_reason']}" for name, one in resources.items() if one.get("nacked_reason")]
    behind = [_short(name) for name, one in resources.items() if one.get("acked") != one.get("sent")]
    if refused:
        return "REFUSED " + "; ".join(refused)
    return f"behind on {', '.join(behind)}" if behind else "in sync"


def _stray(proxy: Object) -> str:
    """Say why a sidecar is not connected, and what helps."""
    if proxy.get("untrusted"):
        return "DOES NOT TRUST the control plane's root: make the pod anew"
    return f"not connected: {proxy.get('problem') or 'it is just connecting'}"


def _passed_over(fields: list[str]) -> str:
    """Count the fields of its configuration that a sidecar takes no notice of; `-o json` names them, docs/xds-contract.md has the reasons."""
    return f"{len(fields)} field{'' if len(fields) == 1 else 's'}" if fields else "-"


def _short(type_url: str) -> str:
    return type_url.rpartition(".")[2]


def _certificate(expires: object, now: dt.datetime) -> str:
    moment = when(expires)
    if moment is None:
        return "?"
    return f"ends in {span(moment - now)}" if moment > now else "EXPIRED"


def _distance(since: object, now: dt.datetime) -> str:
    moment = when(since)
    return span(now - moment) if moment else "?"
