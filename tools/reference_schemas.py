"""Pages of the reference that are read off schemas and help texts: the command line, the chart's values, our kinds.

In: click commands, charts/tulle/values.yaml with its schema and comments, manifests/crds. Out: Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from tulle.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "tulle"
_WIDTH = 110


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """Write a Markdown table."""
    lines = [" | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) for row in (head, *rows)]
    return "\n".join([f"| {lines[0]} |", "|" + "---|" * len(head), *(f"| {line} |" for line in lines[1:])]) + "\n"


def commands() -> str:
    """Write every command's own help."""
    parts = [
        "`kubectl tulle` is the same command. Exit codes: 0 done, 1 refused or not well (with a sentence), 2 not understood.\n"
    ]
    for name in ("", *COMMANDS):
        command: Any = cli.get_command(click.Context(cli), name) if name else cli
        context = click.Context(
            command, info_name=f"tulle {name}".strip(), terminal_width=_WIDTH, max_content_width=_WIDTH
        )
        parts.append(f"## {context.info_name}\n\n```\n{command.get_help(context).strip()}\n```\n")
    return "\n".join(parts)


def values() -> str:
    """Write every value: its default, what it may be, and the comment above it."""
    text = (CHART / "values.yaml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    node: Any = yaml.compose(text)
    return "An unknown name or a bad value is refused, not ignored.\n\n" + table(
        ("value", "default", "allowed", "meaning"), _values(node, text.split("\n"), "", schema, schema["$defs"])
    )


def _values(
    node: yaml.MappingNode, lines: list[str], path: str, schema: Mapping[str, Any], shared: Mapping[str, Any]
) -> Iterator[tuple[str, str, str, str]]:
    for key, value in node.value:
        name = f"{path}{key.value}"
        said: list[str] = []
        at = key.start_mark.line - 1
        while at >= 0 and lines[at].strip().startswith("#"):
            said.insert(0, lines[at].strip("# "))
            at -= 1
        if at < 0:
            said = []  # of the whole file
        allowed: Mapping[str, Any] = (schema.get("properties") or {}).get(key.value) or {}
        if "$ref" in allowed:
            allowed = shared[allowed["$ref"].rpartition("/")[2]]
        plain = yaml.safe_load(yaml.serialize(value))
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            if said:
                yield f"`{name}`", "", "", " ".join(said)
            yield from _values(value, lines, f"{name}.", allowed, shared)
        else:
            yield f"`{name}`", f"`{json.dumps(plain)}`", _allowed(allowed), " ".join(said)


def _allowed(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    kind = schema.get("type", "")
    bounds = [str(schema.get(end, "")) for end in ("minimum", "maximum")]
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{words} {' to '.join(bounds)}" if any(bounds) else words


def kinds() -> str:
    """Write every field of our kinds."""
    parts = []
    for path in sorted((ROOT / "manifests" / "crds").glob("*.yaml")):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            parts.append(f"## {spec['names']['kind']} (`{spec['group']}/{version['name']}`, {spec['scope'].lower()})\n")
            parts.append(schema["description"] + "\n")
            parts += [f"- {rule['message']}" for rule in schema.get("x-kubernetes-validations", ())]
            rows = [row for part in ("spec", "status") for row in _fields(schema["properties"].get(part), part)]
            parts.append("\n" + table(("field", "type", "default", "meaning"), rows))
            columns = ", ".join(f"`{c['name']}`" for c in version.get("additionalPrinterColumns", ()))
            parts.append(f"`kubectl get` shows {columns}.\n")
    return "\n".join(parts)


def _fields(schema: Mapping[str, Any] | None, path: str) -> Iterator[tuple[str, str, str, str]]:
    if schema is None:
        return
    allowed = ", ".join(f"`{one}`" for one in schema.get("enum", ())) or str(schema.get("type", "any"))
    default = f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
    rules = " ".join(f"({rule['message']})" for rule in schema.get("x-kubernetes-validations", ()))
    yield f"`{path}`", allowed, default, f"{schema.get('description', '')} {rules}".strip()
    inner = schema.get("items") or schema
    for name, field in (inner.get("properties") or {}).items():
        yield from _fields(field, f"{path}{'[]' if 'items' in schema else ''}.{name}")
