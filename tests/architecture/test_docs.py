"""What the documents name exists: paths, links, functions; and the generated reference is what the code says today."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = (
    "meshapi",
    "controlplane",
    "dataplane",
    "devcluster",
    "tulle",
    "charts",
    "manifests",
    "tests",
    "benchmarks",
    "docs",
    "tools",
)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LIVES = [*sorted((ROOT / "docs").glob("life-of-*.md")), ROOT / "docs" / "flow-control.md"]

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_TICKED = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(rf"(?:{'|'.join(TOP)})/[\w./*-]*\Z")
_FILE = re.compile(r"[\w-]+\.(?:py|md|toml|yaml|pxd)\Z")
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
_DOTTED = re.compile(r"[A-Z]\w*\.\w+\Z")
_CALLED = re.compile(r"(\w+)\(\)\Z")


def prose(path: Path) -> str:
    return _FENCE.sub("", path.read_text())


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_path_a_document_names_exists(document: Path) -> None:
    """A path in backticks that begins in one of our folders is there (a star stands for some)."""
    named = {word for word in _TICKED.findall(prose(document)) if _PATH.match(word)}

    assert sorted(word for word in named if not list(ROOT.glob(word.rstrip("/")))) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_no_line_of_prose_is_longer_than_200_characters(document: Path) -> None:
    """Rows of tables are as long as they must be; what is generated follows the code."""
    lines = prose(document).splitlines() if document.parent.name != "reference" else []

    assert [line for line in lines if len(line) > 200 and not line.startswith("|")] == []


def test_each_decision_has_a_number_of_its_own() -> None:
    """They are cited by it."""
    files = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))

    assert [file[:5] for file in files] == [f"{number:04}-" for number in range(1, len(files) + 1)]
    for file in files:
        assert (ROOT / "docs" / "decisions" / file).read_text().startswith(f"# {file[:4]}"), file


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    """A relative link leads to a file or folder."""
    links = _LINK.findall(prose(document))

    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", LIVES, ids=name)
def test_every_function_a_life_names_exists(document: Path) -> None:
    """`Class.method` and `function()` are defined in a file the same step names."""
    unknown = []
    for step in re.split(r"\n(?=\d+\. |\| |\n)", prose(document)):
        words = _TICKED.findall(step)
        files = [word for word in words if word.endswith(".py") and (ROOT / word).is_file()]
        there = set().union(*(defined(word) for word in files))
        asked = [word for word in words if _DOTTED.match(word) or _CALLED.match(word)]
        unknown += [
            f"{word} (in {', '.join(files) or 'no file'})" for word in asked if word.removesuffix("()") not in there
        ]

    assert unknown == []


@functools.cache
def defined(file: str) -> frozenset[str]:
    """The functions of a file, and `Class.method` for its classes with what they inherit within the repository."""
    found: set[str] = set()
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found.update(f"{node.name}.{member}" for member in members(file, node.name))
    return frozenset(found)


@functools.cache
def members(file: str, class_: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    origin = {
        alias.asname or alias.name: node.module.replace(".", "/") + ".py"
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == class_:
            found = {part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)}
            for base in node.bases:
                if isinstance(base, ast.Name):
                    source = origin.get(base.id, file)
                    if (ROOT / source).is_file():
                        found |= members(source, base.id)
    return frozenset(found)


def test_the_reference_is_what_the_code_says() -> None:
    """docs/reference is generated and fresh; `make reference` writes it anew."""
    command = [sys.executable, str(ROOT / "tools" / "gen_reference.py"), "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_document_is_reached_from_the_readme() -> None:
    """A page nobody links to is a page nobody reads."""
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or not page.is_file():
            continue
        seen.add(page)
        targets = [(page.parent / link).resolve() for link in _LINK.findall(page.read_text())]
        todo += [inner for target in targets for inner in (target.glob("*.md") if target.is_dir() else [target])]

    unseen = [name(path) for path in DOCUMENTS if path not in seen]
    assert [path for path in unseen if path != "docs/performance.md"] == []  # `make bench` writes that one
