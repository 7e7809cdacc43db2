"""How commands speak: tables and JSON on standard output, progress and what went wrong on standard error.

In: rows, values, sentences. Out: text for a person or a program. A `Failure` ends a command with one sentence and no traceback.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

OK, WARNING, FAILED = "✓", "‼", "✗"


class Failure(click.ClickException):
    """A command that could not do what it was asked; the message is the sentence to show."""

    def show(self, file: Any = None) -> None:  # noqa: ARG002 - click's signature
        """Print the sentence."""
        click.echo(f"{FAILED} {self.message}", err=True)


def one_sentence(text: str) -> str:
    """Bring what a tool said over several lines into one."""
    return "; ".join(line.strip().removeprefix("- ") for line in text.splitlines() if line.strip())


def as_json(value: Any) -> None:
    """Print a value for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns, as kubectl does."""
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        click.echo("   ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show what is being done while it takes, and that it is done; nothing but the sentence where nobody watches."""
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second that quick commands do not need

    console = Console(stderr=True, highlight=False)
    try:
        with console.status(what):
            yield
    except BaseException:
        console.print(f"[red]{FAILED}[/] {what}")
        raise
    console.print(f"[green]{OK}[/] {what}")
