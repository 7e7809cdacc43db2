"""The table of docs/xds-contract.md about fields that are passed over.

In: the table the sidecar decodes by, and the page as it is. Out: the page with that table in its place.
"""

from __future__ import annotations

from pathlib import Path

from reference_schemas import table

from dataplane.xds.ignored import IGNORED

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "xds-contract.md"
_BEGIN, _END = "<!-- passed over: written by tools/gen_reference.py -->", "<!-- end of passed over -->"


def page() -> dict[Path, str]:
    """Say what the page must hold."""
    before, _, rest = _PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    rows = [(f"`{name.removeprefix('envoy.')}`" if "." in name else name, reason) for name, reason in IGNORED.items()]
    body = table(("field", "why it may be passed over"), rows).strip()
    return {_PAGE: f"{before}{_BEGIN}\n{body}\n{_END}{after}"}
