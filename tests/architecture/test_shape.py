"""The size budgets and layout rules every module keeps (exceptions stand here by name, each with its reason)."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("meshapi", "controlplane", "dataplane", "devcluster", "tulle")
FILE_LINES = 400
FUNCTION_LINES = 50
LINE = 200
CODE = {".py", ".pyx", ".pxd"}
PARAMETERS = 6
MEDIAN_LINES = 150

LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
WIDE_FUNCTIONS: dict[str, str] = {
    "dataplane/protocol/events.py:__init__": "a request line has eight parts, and the hot path makes one event for each request",
}


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name(path)}:{node.name}", node


def test_no_module_is_longer_than_its_budget() -> None:
    """A module holds one concept, so it stays under 400 lines."""
    long = {name(p): n for p in modules() if (n := len(p.read_text().splitlines())) > FILE_LINES}

    assert long.keys() == LONG_FILES.keys(), long


def test_no_line_is_longer_than_its_budget() -> None:
    """Code is 120 wide (ruff); prose in it may be wider, and no wider than this."""
    folders = (*PACKAGES, "tests", "benchmarks", "tools", "fuzz")
    code = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.p*") if path.suffix in CODE)
    wide = [
        f"{name(path)}:{number}"
        for path in code
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE
    ]

    assert wide == []


def open_methods(classes: dict[tuple[Path, str], ast.ClassDef], one: tuple[Path, str]) -> set[str]:
    """Methods of a class and its bases in the same folder for which nobody has written a body."""
    if one not in classes:
        return set()
    node = classes[one]
    names = [base.id for base in node.bases if isinstance(base, ast.Name)]
    found = set().union(*(open_methods(classes, (one[0], base)) for base in names))
    for method in node.body:
        if isinstance(method, ast.FunctionDef):
            promised = ast.unparse(method.body[-1]) == "raise NotImplementedError"
            found = found | {method.name} if promised else found - {method.name}
    return found


def test_what_a_base_leaves_open_its_classes_fill_in() -> None:
    """`raise NotImplementedError` is a promise; every class without subclasses keeps it, itself or by a base."""
    classes = {
        (path.parent, node.name): node
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    based_on = {
        (folder, base.id) for (folder, _), node in classes.items() for base in node.bases if isinstance(base, ast.Name)
    }
    left = {f"{one[1]}.{method}" for one in classes.keys() - based_on for method in open_methods(classes, one)}

    assert left == set()


def test_the_median_module_is_short() -> None:
    """Half of the modules can be read in one sitting."""
    sizes = [n for p in modules() if (n := len(p.read_text().splitlines())) > 5]

    assert statistics.median(sizes) <= MEDIAN_LINES


def test_no_function_is_longer_than_its_budget() -> None:
    """A function fits a screen."""
    long = {
        label: node.end_lineno - node.lineno + 1
        for path in modules()
        for label, node in functions(path)
        if node.end_lineno and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    }

    assert long.keys() == LONG_FUNCTIONS.keys(), long


def test_no_function_takes_too_many_parameters() -> None:
    """More than six parameters are a noun nobody named."""
    wide = {}
    for path in modules():
        for label, node in functions(path):
            arguments = [a.arg for a in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
            count = len([a for a in arguments if a not in {"self", "cls"}])
            if count > PARAMETERS:
                wide[label] = count

    assert wide.keys() == WIDE_FUNCTIONS.keys(), wide


def test_every_module_says_why_it_exists() -> None:
    """A module opens with a docstring."""
    silent = [name(p) for p in modules() if p.read_text().strip() and not ast.get_docstring(ast.parse(p.read_text()))]

    assert silent == []


def test_package_files_hold_only_a_map() -> None:
    """`__init__.py` has a docstring and re-exports, no logic."""
    busy = []
    for path in modules():
        if path.name != "__init__.py":
            continue
        allowed = (ast.Import, ast.ImportFrom, ast.Expr)
        for node in ast.parse(path.read_text()).body:
            is_all = isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]
            if not isinstance(node, allowed) and not is_all:
                busy.append(name(path))

    assert busy == []


@pytest.mark.parametrize(
    "package", sorted((ROOT / "controlplane").rglob("__init__.py")), ids=lambda one: name(one.parent)
)
def test_every_module_of_the_control_plane_stands_on_its_packages_map(package: Path) -> None:
    """And what stands there is there."""
    named = set(re.findall(r"\b(\w+)\.py\b", ast.get_docstring(ast.parse(package.read_text())) or ""))
    there = {path.stem for path in package.parent.glob("*.py")} - {"__init__", "__main__"}

    assert sorted(named ^ there) == []


def test_the_store_is_filled_by_the_feed_alone() -> None:
    """One way in: whoever else would write there would be a second source of what is true."""
    others = [
        f"{name(path)}:{node.lineno}"
        for path in modules()
        if path.is_relative_to(ROOT / "controlplane") and not path.is_relative_to(ROOT / "controlplane" / "feed")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"apply", "remove", "retain"}
        and ast.unparse(node.func.value).endswith("store")
    ]

    assert others == []


def test_no_module_reads_the_environment_but_settings() -> None:
    """The environment is read in `settings.py` alone (the command line and devcluster read it where they start)."""
    readers = [
        name(path)
        for path in modules()
        if path.parts[len(ROOT.parts)] in {"controlplane", "dataplane", "meshapi"}
        and path.name != "settings.py"
        and ("os.environ" in path.read_text() or "os.getenv" in path.read_text())
    ]

    assert readers == []


def test_test_files_have_unique_names() -> None:
    """Test modules are collected without packages, so their names must differ."""
    names = [p.name for p in (ROOT / "tests").rglob("test_*.py")]

    assert sorted({n for n in names if names.count(n) > 1}) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_opens_with_its_map(package: str) -> None:
    """A newcomer finds the place for a change from the package's docstring."""
    assert ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text()))
