"""Helm 4 in a process of its own: one question in, one answer out.

In: an action with its arguments. Out: what Helm answered; a HelmError with its words in one sentence where it refused. The SDK brings a
Go runtime, with threads and signal handlers of its own, so it never shares a process with anything of ours. Run as a program,
this module is that process: JSON on standard input and output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tulle.output import one_sentence
from tulle.shared import shared

Answer = dict[str, Any]

RELEASE = "tulle"
_MARK = "tulle-helm-answer:"
"""Starts the line that is the answer; the SDK may log around it."""


class HelmError(RuntimeError):
    """Helm refused; the message has its words."""


def chart_path() -> Path:
    """Find the chart that came along; raises Failure."""
    return shared("charts/tulle")


def call(action: str, *, timeout: float = 60.0, **arguments: Any) -> Answer:
    """Ask Helm; raises HelmError."""
    question = json.dumps({"action": action, "timeout": int(timeout), **arguments})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tulle.helm"],
            input=question,
            capture_output=True,
            text=True,
            timeout=timeout + 20,
            check=False,
            cwd=Path(__file__).resolve().parents[1],
        )
    except subprocess.TimeoutExpired:
        raise HelmError(f"Helm did not end in {timeout + 20:.0f} s") from None
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            answer: Answer = json.loads(line.removeprefix(_MARK))
            if "error" in answer:
                raise HelmError(one_sentence(answer["error"]))
            return answer
    last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
    raise HelmError(f"Helm ended with {done.returncode}: {last}")


def merged(below: Answer, above: Answer) -> Answer:
    """Lay values over values, as Helm does."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return result


def _values(helm: Any, question: Answer) -> Answer:
    values: Answer = {}
    for text in question.get("values") or ():
        values = merged(values, helm.values_from_yaml(text))
    for assignment in question.get("set") or ():
        values = merged(values, helm.parse_set_string(assignment))
    return values


def _install(helm: Any, question: Answer) -> Answer:
    """Install, or upgrade over the values given before; `known` kinds decide nothing here, Helm looks itself."""
    values = _values(helm, question)
    wait = "watcher" if question["wait"] else None
    options = {"timeout": question["timeout"], "wait": wait}
    where = {"kubeconfig_path": question["kubeconfig"], "kube_context": question.get("context")}
    with helm.Config(namespace=question["namespace"], **where) as config, helm.Chart.load(question["chart"]) as chart:
        # Helm checks the schema only after it has talked to the cluster; a bad value is told first.
        before = _former(helm, config) if not question.get("reset") else {}
        values = merged(before, values)
        chart.validate_schema(chart.merge_values(values))
        if question.get("dry_run"):
            release = config.install(chart, RELEASE, values, dry_run="client", **options)
            return {"manifest": release["manifest"]}
        try:
            config.history(RELEASE)
        except helm.HelmNotFoundError:
            release = config.install(chart, RELEASE, values, **options)
        else:
            release = config.upgrade(chart, RELEASE, values, reset_values=True, **options)
        return {"revision": release.get("revision"), "status": release.get("status"), "notes": release.get("notes", "")}


def _former(helm: Any, config: Any) -> Answer:
    try:
        former: Answer = config.get_values(RELEASE) or {}
    except helm.HelmNotFoundError:
        return {}
    return former


def _uninstall(helm: Any, question: Answer) -> Answer:
    where = {"kubeconfig_path": question["kubeconfig"], "kube_context": question.get("context")}
    wait = "watcher" if question["wait"] else None
    with helm.Config(namespace=question["namespace"], **where) as config:
        try:
            config.uninstall(RELEASE, timeout=question["timeout"], wait=wait)
        except helm.HelmNotFoundError:
            return {"found": False}
    return {"found": True}


def _rollback(helm: Any, question: Answer) -> Answer:
    where = {"kubeconfig_path": question["kubeconfig"], "kube_context": question.get("context")}
    with helm.Config(namespace=question["namespace"], **where) as config:
        config.rollback(RELEASE, timeout=question["timeout"], wait="watcher")
        return {"revisions": config.history(RELEASE)}


def _render(helm: Any, question: Answer) -> Answer:
    with helm.Chart.load(question["chart"]) as chart:
        values = _values(helm, question)
        chart.validate_schema(chart.merge_values(values))
        return {"files": chart.render(values, name=RELEASE, namespace=question["namespace"])}


def _lint(helm: Any, question: Answer) -> Answer:
    report: Answer = helm.lint(question["chart"], strict=True, namespace=question["namespace"])
    return report


_ACTIONS = {"install": _install, "uninstall": _uninstall, "rollback": _rollback, "render": _render, "lint": _lint}


def _serve() -> None:
    """Answer the one question on standard input."""
    import helm_python as helm  # noqa: PLC0415 - only in the process that is Helm

    question = json.loads(sys.stdin.read())
    try:
        answer = _ACTIONS[question["action"]](helm, question)
    except helm.HelmError as error:
        answer = {"error": error.detail}
    print(_MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
