"""The image, built from this very tree and run as pods run it: what is in it, what is not, and that all of it works."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import inside
from tests.support.cluster import ROOT
from tests.support.node import Node, in_node
from tests.support.objects import container, pod
from tools import image

pytestmark = pytest.mark.timeout(2400)
"""The first test waits for the build; a compiler has some minutes to do in it."""

CONTENT_BYTES = 150_000_000
PROGRAMS = ("tulle-controlplane", "tulle-init", "tulle-proxy")
LOCKED = {
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
CAPTURING = {
    "readOnlyRootFilesystem": True,
    "runAsUser": 0,
    "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
}
RULES = """
nft list ruleset
for version in iptables ip6tables; do
  $version -t nat -N tulle_test
  $version -t nat -A tulle_test -p tcp -m owner ! --uid-owner 1337 -j REDIRECT --to-ports 15001
  $version-save -t nat | grep -- '--to-ports 15001'
done
"""
FACTS = """
import importlib, importlib.util, json, os, shutil, ssl, sys

def files(*ends):
    found = ((top, name) for top, _, names in os.walk("/") if not top.startswith(("/proc", "/sys", "/dev")) for name in names)
    return [os.path.join(*one) for one in found if one[1].endswith(ends)]

every = files("")
print(json.dumps({
    "python": sys.version_info[:2],
    "openssl": ssl.OPENSSL_VERSION_INFO[:2],
    "who": [os.getuid(), os.getgid(), os.getgroups()],
    "programs": [name for name in sys.argv[1].split() if shutil.which(name)],
    "modules": [name for name in ("pip", "setuptools", "ensurepip", "Cython", "wheel", "devcluster", "tulle") if importlib.util.find_spec(name)],
    "compiled": {name: importlib.import_module(name).__file__.rpartition(".")[2] for name in sys.argv[2].split()},
    "libraries": sorted({line.split()[-1] for line in open("/proc/self/maps") if "libssl" in line}),
    "privileged": [path for path in every if not os.path.islink(path) and os.stat(path).st_mode & 0o6000],
    "sources": [path for path in every if path.endswith((".c", ".h", ".pyx", ".pxd"))],
    "lists": [path for path in every if path.startswith(("/var/lib/apt", "/var/cache", "/usr/share/man", "/usr/share/locale"))],
    "shipped": sum(os.lstat(path).st_size for path in every),
    "release": open("/etc/os-release").read(),
}))
"""
ABSENT = "gcc cc c++ g++ cpp clang ld as make pip pip3 apt apt-get dpkg perl bash su mount sudo git"
IMPORTS = """
import importlib, os, pkgutil, sys

def bytecode():
    return {os.path.join(top, name): os.stat(os.path.join(top, name)).st_mtime_ns
            for root in ("/opt", "/usr/lib") for top, _, names in os.walk(root) for name in names if name.endswith(".pyc")}

before = bytecode()
for package in ("meshapi", "dataplane", "controlplane"):
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
print("same bytecode" if before == bytecode() and len(before) > 500 else "other bytecode")
"""


@pytest.fixture(scope="session")
def built() -> image.Built:
    """What is known of the archive, built by whoever needs it first."""
    return image.ensure()


@pytest.fixture(scope="session")
def said(built: image.Built, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pods of the image wrote, by container."""
    place = tmp_path_factory.mktemp("image")
    answers = place / "answers.json"

    async def scenario(node: Node) -> None:
        help_of = " && ".join(f"{name} --help" for name in PROGRAMS)
        modules = " ".join(compiled_modules())
        parts = [
            part("facts", ["python3", "-c", FACTS, ABSENT, modules]),
            part("help", ["sh", "-c", help_of]),
            part("imports", ["python3", "-v", "-c", IMPORTS]),
            part("root", ["python3", "-c", IMPORTS], securityContext={"runAsUser": 0}),
            part("words", []),
            part("rules", ["sh", "-exc", RULES], securityContext=CAPTURING),
        ]
        await node.make(pod("image", restartPolicy="Never", containers=parts))

        def over() -> Any:
            statuses = node.get("pods", "image")["status"].get("containerStatuses") or []
            return len(statuses) == len(parts) and all("terminated" in s["state"] for s in statuses) and statuses

        ended = await node.until(over, seconds=240, what="the end of all containers")
        logs = {one["name"]: await node.log("image", one["name"]) for one in parts}
        codes = {status["name"]: status["state"]["terminated"]["exitCode"] for status in ended}
        answers.write_text(json.dumps({name: f"{codes[name]}\n{log}" for name, log in logs.items()}))

    in_node(place, scenario, {"tulle:*": {"archive": str(image.ARCHIVE)}}, seconds=300)
    found: dict[str, str] = json.loads(answers.read_text())
    return found


def part(name: str, words: list[str], **more: Any) -> dict[str, Any]:
    made = container(name, words, **{"image": "tulle:x", "securityContext": LOCKED} | more)
    return made if words else {key: value for key, value in made.items() if key != "command"}


def compiled_modules() -> Iterator[str]:
    """What setup.py compiles."""
    for line in (ROOT / "setup.py").read_text().splitlines():
        if line.startswith('    "dataplane/'):
            yield str(Path(line.strip(' ",')).with_suffix("")).replace("/", ".")


@pytest.fixture(scope="session")
def facts(said: dict[str, str]) -> dict[str, Any]:
    code, _, answer = said["facts"].partition("\n")
    assert code == "0", answer
    found: dict[str, Any] = json.loads(answer)
    return found


def test_it_is_debian_13_with_its_own_python_and_openssl(facts: dict[str, Any]) -> None:
    """The data plane's own binding takes the very library that Python's does."""
    assert 'VERSION_ID="13"' in facts["release"]
    assert facts["python"] == [3, 13]
    assert facts["openssl"] >= [3, 5]
    assert len(facts["libraries"]) == 1, facts["libraries"]


def test_it_runs_as_nobody_in_particular(facts: dict[str, Any]) -> None:
    """By the image's own word: the pod says only that it must not be root. No program in there makes it anybody else."""
    assert facts["who"] == [1337, 1337, [1337]]
    assert facts["privileged"] == []


def test_nothing_in_it_builds_or_installs(facts: dict[str, Any]) -> None:
    """No compiler, no installer, none of their leavings, no sources of what is compiled, and neither tests nor command line."""
    assert facts["programs"] == []
    assert facts["modules"] == []
    assert facts["sources"] == []
    assert facts["lists"] == []


def test_the_data_plane_is_compiled(facts: dict[str, Any]) -> None:
    """Each module that setup.py names."""
    assert len(facts["compiled"]) > 50
    assert set(facts["compiled"].values()) == {"so"}, facts["compiled"]


def test_it_is_small(built: image.Built, facts: dict[str, Any]) -> None:
    """All of its files together; the archive has them compressed."""
    assert built.content_bytes <= CONTENT_BYTES
    assert abs(facts["shipped"] - built.content_bytes) < 1_000_000
    assert built.archive_bytes == image.ARCHIVE.stat().st_size < CONTENT_BYTES // 2


def test_each_program_starts_on_a_read_only_root(said: dict[str, str]) -> None:
    """And tells how it is used."""
    code, _, words = said["help"].partition("\n")

    assert code == "0", words
    assert [line.split()[1] for line in words.splitlines() if line.startswith("usage: ")] == list(PROGRAMS)


def test_nothing_is_compiled_when_it_starts(said: dict[str, str]) -> None:
    """Everything either plane may ever import, of Python and of ours, has its bytecode at hand."""
    code, _, words = said["imports"].partition("\n")
    read = [line.rpartition("from ")[2].strip("'") for line in words.splitlines() if "code object from" in line]

    assert code == "0", words[-3000:]
    assert "same bytecode" in words
    assert len(read) > 500
    assert [path for path in read if not path.endswith(".pyc")] == []


def test_root_on_a_writable_root_writes_no_bytecode_either(said: dict[str, str]) -> None:
    """What is in the image is what runs."""
    assert said["root"] == "0\nsame bytecode\n"


def test_capture_rules_can_be_written_either_way(said: dict[str, str]) -> None:
    """By nft, and by iptables of both families with the extensions its rules are made of."""
    code, _, words = said["rules"].partition("\n")

    assert code == "0", words
    kept = [line for line in words.splitlines() if line.startswith("-A tulle_test ")]
    assert len(kept) == 2, words


def test_without_words_it_is_the_control_plane(said: dict[str, str]) -> None:
    """Which says what it lacks."""
    code, _, words = said["words"].partition("\n")

    assert code not in {"0", "127", "128"}
    assert words.strip()


def test_the_archive_is_known_by_what_it_was_built_of(built: image.Built) -> None:
    """The same tree is not built twice."""
    assert built.sources == image.sources()
    assert image.present() == image.ARCHIVE
    assert built.digest.startswith("sha256:")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter another root")
def test_the_benchmarks_take_the_sidecar_from_it(
    built: image.Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On its file system, with the configuration's directory in sight; the process that is measured is the sidecar's own."""
    monkeypatch.setattr(inside, "ARCHIVE", str(image.ARCHIVE))
    look = "import json, os, sys; print(json.dumps([os.getpid(), sys.version_info[:2], os.listdir(sys.argv[1]), os.listdir('/opt')]))"
    (tmp_path / "here.json").touch()
    command = inside.command([], tmp_path)
    command[-1:] = ["/opt/tulle/bin/python", "-c", look, str(tmp_path)]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = json.loads(process.communicate(timeout=60)[0])

    assert said == [process.pid, [3, 13], ["here.json"], ["tulle"]]
