"""The page of the reference about names: annotations, labels, ports, paths, words both planes agree on.

In: meshapi/names.py, parsed. Out: Markdown, a section for each of its own, with what stands beneath each constant.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from reference_schemas import table

SOURCE = Path(__file__).resolve().parents[1] / "meshapi" / "names.py"
_SECTION = re.compile(r"^# --- (.*?) -+$", re.MULTILINE)


def names() -> str:
    """Tell every constant; raises ValueError for one that says nothing about itself."""
    text = SOURCE.read_text()
    lines = text.split("\n")
    body = ast.parse(text).body
    sections: dict[str, list[tuple[object, ...]]] = {}
    for node, after in zip(body, [*body[1:], body[0]], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Constant):
            continue
        name = ast.unparse(node.target)
        if after is body[0] or not isinstance(after, ast.Expr) or not isinstance(after.value, ast.Constant):
            raise ValueError(f"{SOURCE.name}: {name} says nothing about itself; write a sentence beneath it")
        before = _SECTION.findall("\n".join(lines[: node.lineno]))
        row = f"`{node.value.value!s}`", f"`{name}`", after.value.value
        sections.setdefault(before[-1] if before else "the group", []).append(row)
    return "\n".join(
        f"## {title[:1].upper()}{title[1:]}\n\n{table(('value', 'constant', 'meaning'), rows)}"
        for title, rows in sections.items()
    )
