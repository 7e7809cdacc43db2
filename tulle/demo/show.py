"""How the demo is told: a line for each step as it ends, the table of figures, and what to try next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tulle.demo.figures import SPLIT_WANTED, Figures


class Show:
    """Tells a person what happens; `quiet` keeps the progress to itself."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.begin = time.monotonic()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show a step while it runs and how long it took."""
        begin = time.monotonic()
        try:
            with self.console.status(what):
                yield
        except BaseException:
            self.console.print(f"[red]✗[/] {what}")
            raise
        self.console.print(f"[green]✓[/] {what} [dim]{time.monotonic() - begin:.1f} s[/]")

    def seconds(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.begin

    def figures(self, figures: Figures) -> None:
        """Print the table."""
        table = Table(title="The shop, in the mesh", title_justify="left", show_header=False)
        rate = 1 - figures.failed_requests / figures.requests if figures.requests else 0.0
        rows = [
            ("pods injected", f"{figures.injected_pods}"),
            ("requests", f"{figures.requests}"),
            ("success", f"{rate:.2%}"),
            (
                "latency p50 / p99",
                f"{figures.p50_ms:.1f} / {figures.p99_ms:.1f} ms (one page: 1 + 3 calls, 4 hops of 2 sidecars)",
            ),
            ("mutual TLS", f"{figures.mtls_share:.1%} of what the sidecars received"),
            ("reviews v2", f"{figures.split_observed:.1%} (the route says {SPLIT_WANTED:.0%})"),
            ("failed in a rolling restart", f"{figures.rolling_restart_failures}"),
            ("failed in a control plane restart", f"{figures.control_plane_restart_failures}"),
            ("ready after", f"{figures.seconds_to_ready:.1f} s"),
        ]
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def next_steps(self, kubeconfig: Path) -> None:
        """Print commands that work now."""
        self.console.print(
            f"\nTry it in another shell:\n\n  export KUBECONFIG={kubeconfig} PATH=$PWD/.venv/bin:$PATH\n"
            "  kubectl -n shop get pods -o wide\n"
            "  kubectl get httproutes,mesh -A\n"
            "  kubectl -n shop logs deploy/web -c tulle-proxy\n"
            "  tulle check\n"
            "  tulle proxy-status\n"
            "  tulle routes deploy/web -n shop --host reviews:8080 --path /reviews\n"
            "  kubectl -n shop annotate deployment catalog tulle.dev/inject-     # out of the mesh\n"
            "  kubectl -n shop annotate deployment catalog tulle.dev/inject=enabled   # and in again\n"
            "  kubectl -n shop patch httproute reviews --type json \\\n"
            '    -p \'[{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 90}]\'\n\n'
            "Ctrl-C ends the demo and leaves nothing behind."
        )
