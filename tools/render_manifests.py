"""Render manifests/install.yaml from the chart, and copy our kinds from manifests/crds into the chart.

`python tools/render_manifests.py` writes both; `--check` only says what is stale and exits 1. The chart needs its own copy because a
chart is installed from wherever it was copied to. Helm is the real one, in this process, which ends with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "tulle"
CRDS = ROOT / "manifests" / "crds"
INSTALL = ROOT / "manifests" / "install.yaml"
NAMESPACE = "tulle-system"
ORDER = (
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
)
HEADER = f"""\
# Tulle with the chart's default values, rendered by tools/render_manifests.py; do not edit.
#   kubectl apply --server-side -f manifests/install.yaml
# The Mesh object is not in here (its kind must be known first); without one the defaults hold. See manifests/samples/mesh.yaml.
---
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""


def render() -> str:
    """Render the chart with its defaults, in an order kubectl can apply from top to bottom."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render({}, name="tulle", namespace=NAMESPACE)
    documents = []
    for path, text in sorted(files.items()):
        if path.endswith((".txt", ".tpl")):
            continue
        for part in text.split("\n---\n"):
            kind = (yaml.safe_load(part) or {}).get("kind")
            if kind and kind != "Mesh":
                rank = ORDER.index(kind) if kind in ORDER else len(ORDER)
                documents.append((rank, path, part.removeprefix("---\n").strip("\n") + "\n"))
    return "---\n".join([HEADER, *(text for _, _, text in sorted(documents))])


def copies() -> dict[Path, str]:
    """Say what the chart's copies of our kinds must hold."""
    return {CHART / "files" / "crds" / path.name: path.read_text() for path in sorted(CRDS.glob("*.yaml"))}


def main(arguments: list[str]) -> int:
    """Write or check."""
    check = "--check" in arguments
    wanted = copies()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    surplus = [path for path in (CHART / "files" / "crds").glob("*.yaml") if path not in wanted]
    if not check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        for path in surplus:
            path.unlink()
    text = render()  # of the chart with its copies as they are now
    stale += surplus
    if not INSTALL.exists() or INSTALL.read_text() != text:
        stale.append(INSTALL)
        if not check:
            INSTALL.write_text(text)
    for path in stale:
        print(f"{'stale' if check else 'wrote'} {path.relative_to(ROOT)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
