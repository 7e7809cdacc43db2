"""Images: found by their names, unpacked from their archives, and run."""

from __future__ import annotations

import asyncio
import gzip
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devcluster.runtime.archive import ArchiveError, Recipe, unpack
from devcluster.runtime.images import Image, ImageError, Images
from devcluster.runtime.security import rights
from tests.support.archives import (
    Layer,
    directory,
    docker_archive,
    docker_members,
    file,
    link,
    oci_archive,
    oci_members,
    programs,
    tar,
)
from tests.support.node import Node, in_node
from tests.support.objects import container, pod

CONFIG = {
    "Env": ["PATH=/opt/x/bin:/bin", "MODE=a=b"],
    "Entrypoint": ["tool"],
    "Cmd": ["word"],
    "User": "me",
    "WorkingDir": "/home",
}
EITHER = pytest.mark.parametrize("write", [docker_archive, oci_archive])


def unpacked(tmp_path: Path, archive: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    unpack(archive, root)
    return root


def found(table: dict[str, Any], name: str, tmp_path: Path) -> Image:
    (tmp_path / "images.json").write_text(json.dumps(table))
    return asyncio.run(Images(tmp_path / "images.json", tmp_path / "store").find(name))


def test_images_are_found_by_glob(tmp_path: Path) -> None:
    """And an unknown one is refused with what there is."""
    table = {"python:*": {"path": ["/x"]}}

    assert found(table, "python:3.12", tmp_path).path == ("/x",)
    with pytest.raises(ImageError, match=r"only for images named python:\*"):
        found(table, "redis", tmp_path)


@EITHER
def test_layers_lie_on_each_other(tmp_path: Path, write: Callable[..., Path]) -> None:
    """A later one replaces, takes away by whiteouts, and empties directories, its own entries excepted."""
    lower = [
        directory("d", mode=0o750),
        file("d/kept", b"1"),
        file("d/gone", b"1"),
        file("e/old/deep", b"1"),
        file("e/own", b"1"),
        file("f", b"1", mode=0o4755, owner=1337),
        directory("turned"),
        file("turned/inside"),
    ]
    upper = [
        file("d/.wh.gone"),
        file("e/own", b"2"),
        file("e/.wh..wh..opq"),
        file("e/new", b"2"),
        file("turned", b"2"),
        link("hard", "f", hard=True),
    ]

    root = unpacked(tmp_path, write(tmp_path / "a.tar", lower, upper))

    there = {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}
    assert there == {"d/kept": "1", "e/own": "2", "e/new": "2", "f": "1", "turned": "2", "hard": "1"}
    assert (root / "d").stat().st_mode & 0o7777 == 0o750
    seen = (root / "hard").stat()
    assert (seen.st_mode & 0o7777, seen.st_uid, seen.st_mtime) == (0o4755, 1337, 1_700_000_000)


def test_links_are_followed_as_inside_the_image(tmp_path: Path) -> None:
    """A later layer that writes below a link writes where the image's own root is meant, not the machine's."""
    lower = [directory("usr/lib"), link("lib", "/usr/lib"), link("up", "../../../usr"), link("usr/lib/etc", "/etc")]
    upper = [file("lib/one", b"1"), file("up/two", b"2"), file("lib/etc/three", b"3")]

    root = unpacked(tmp_path, docker_archive(tmp_path / "a.tar", lower, upper))

    assert (root / "usr/lib/one").read_bytes() == b"1"
    assert (root / "usr/two").read_bytes() == b"2"
    assert (root / "etc/three").read_bytes() == b"3"


def test_a_whiteout_takes_the_link_and_not_what_it_names(tmp_path: Path) -> None:
    """Nor does a file that replaces a link write through it."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    lower = [link("a", str(outside)), link("b", str(outside)), directory("c"), link("c/d", str(tmp_path))]
    upper = [file(".wh.a"), file("b", b"2"), file("c/.wh..wh..opq")]

    root = unpacked(tmp_path, oci_archive(tmp_path / "a.tar", lower, upper))

    assert outside.read_text() == "mine"
    assert sorted(p.name for p in root.iterdir()) == ["b", "c"]
    assert list((root / "c").iterdir()) == []


def test_a_link_in_a_directorys_place_leads_none_of_its_rights_outside(tmp_path: Path) -> None:
    """As where one layer fills /var/run and the next makes it a link to /run: the machine's own stays as it was."""
    outside = tmp_path / "outside"
    (outside / "x").mkdir(parents=True)
    given = directory("run/x", mode=0o777)
    given.uid = 1337

    root = unpacked(
        tmp_path, docker_archive(tmp_path / "a.tar", [directory("run"), given], [link("run", str(outside))])
    )

    assert (root / "run").readlink() == outside
    seen = (outside / "x").stat()
    assert (seen.st_mode & 0o7777, seen.st_uid) == (0o755, 0)
    assert seen.st_mtime != given.mtime


def test_a_directory_that_was_taken_away_leaves_its_rights_to_no_other(tmp_path: Path) -> None:
    """What a later layer puts there without a word about the directory has the usual ones."""
    lower = [directory("a", mode=0o700), directory("a/b", mode=0o700)]

    root = unpacked(tmp_path, docker_archive(tmp_path / "a.tar", lower, [file(".wh.a")], [file("a/b/c")]))

    assert [(root / name).stat().st_mode & 0o7777 for name in ("a", "a/b")] == [0o755, 0o755]


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ([file("../out", b"1")], "entry '../out' leads out of the image"),
        ([file("a/../../out", b"1")], "leads out of the image"),
        ([link("h", "../../etc/passwd", hard=True)], "is a link to '../../etc/passwd', out of the image"),
        ([link("a", "b"), link("b", "a"), file("a/x")], "links go in circles at a"),
        ([file("a", b"1"), file("a/b", b"2")], "a is below something that is no directory"),
        ([file("a/.wh...")], "entry 'a/.wh...' takes away '..', which is no file's name"),
        ([file(".wh..")], "entry '.wh..' takes away '.', which is no file's name"),
        ([file(".wh.")], "entry '.wh.' takes away '', which is no file's name"),
        ([file("d/" * 300 + "x")], "is more than 255 directories deep"),
    ],
)
def test_what_would_leave_the_image_is_refused(tmp_path: Path, layer: Any, sentence: str) -> None:
    """By name, in one sentence; nothing is written outside."""
    with pytest.raises(ArchiveError, match="^image archive .*a.tar: .*" + sentence.replace(".", r"\.")):
        unpacked(tmp_path, docker_archive(tmp_path / "a.tar", layer))
    assert not (tmp_path / "out").exists()


def damaged(members: dict[str, bytes]) -> dict[str, bytes]:
    """Change a byte of the layer where its length does not tell."""
    name = next(n for n, data in members.items() if data[:2] == b"\x1f\x8b")
    data = bytearray(members[name])
    data[4] ^= 1  # gzip's time, which nobody else checks
    return members | {name: bytes(data)}


BROKEN: list[tuple[Callable[[dict[str, bytes]], bytes], str]] = [
    (lambda _: b"not a tar", "cannot be read as an OCI or docker archive"),
    (lambda _: tar([file("other", b"1")]), "neither an oci-layout nor a manifest.json"),
    (lambda m: tar([file(n, d) for n, d in damaged(m).items()]), "the archive is damaged"),
    (lambda m: tar([file(n, d) for n, d in m.items() if d[:2] != b"\x1f\x8b"]), "blobs/sha256/[0-9a-f]+ is missing"),
    (lambda m: tar([file(n, d) for n, d in (m | {"index.json": b"{"}).items()]), "cannot be read"),
    (lambda m: tar([file(n, d) for n, d in (m | {"index.json": b'{"manifests": []}'}).items()]), "holds 0 images"),
    (lambda m: tar([file(n, d) for n, d in (m | {"index.json": b"[]"}).items()]), "cannot be read"),
    (lambda m: tar([file(n, d) for n, d in (m | {"index.json": b" " * (5 << 20)}).items()]), "more than 4 MiB"),
    (lambda m: tar([file(n, d) for n, d in m.items()])[:2000], "(is missing|cannot be read)"),
]


@pytest.mark.parametrize(("broken", "sentence"), BROKEN, ids=[str(n) for n in range(len(BROKEN))])
def test_a_broken_archive_is_one_sentence(tmp_path: Path, broken: Any, sentence: str) -> None:
    """It names the file; who asked for the image hears it."""
    archive = tmp_path / "a.tar"
    archive.write_bytes(broken(oci_members([file("x", b"1" * 5000)])))

    with pytest.raises(ImageError, match=rf'^failed to pull image "i": image archive {archive}.*{sentence}'):
        found({"i": {"archive": str(archive)}}, "i", tmp_path)
    assert list((tmp_path / "store").iterdir()) == []


def pax(**said: str) -> Layer:
    entry, data = file("x", b"1")
    entry.pax_headers = said
    return [(entry, data)]


ODD: list[tuple[Layer, dict[str, Any], str]] = [
    (pax(mtime="1e30"), {}, "timestamp out of range"),
    (pax(mtime="inf"), {}, "timestamp out of range"),
    (pax(size="-1536"), {}, "entry 'x' has -1536 bytes"),
    (pax(uid="-5"), {}, "uid is less than minimum"),
    (pax(uid="99999999999999"), {}, "uid is"),
    ([], {"User": 5}, "its config has '5' in User, which is no text"),
    ([], {"WorkingDir": "a\0b"}, "in WorkingDir, which is no text without NUL"),
    ([], {"Cmd": "ls"}, "its config has 'ls' for Cmd, which is no list"),
    ([], {"Entrypoint": [1]}, "its config has '1' in Entrypoint, which is no text"),
    ([], {"Env": [None]}, "its config has 'None' in Env, which is no text"),
]


@pytest.mark.parametrize(("layer", "config", "sentence"), ODD, ids=[str(n) for n in range(len(ODD))])
def test_odd_values_are_one_sentence(tmp_path: Path, layer: Layer, config: Any, sentence: str) -> None:
    """And leave nothing behind."""
    archive = docker_archive(tmp_path / "a.tar", layer, config=config)

    with pytest.raises(ImageError, match=rf'^failed to pull image "i": image archive {archive}.*{sentence}'):
        found({"i": {"archive": str(archive)}}, "i", tmp_path)
    assert list((tmp_path / "store").iterdir()) == []


def test_a_document_nested_too_deep_is_one_sentence(tmp_path: Path) -> None:
    """And so is one that is a link to itself."""
    for members in ([file("manifest.json", b"[" * 200_000)], [link("manifest.json", "manifest.json")]):
        (tmp_path / "a.tar").write_bytes(tar(members))
        with pytest.raises(ArchiveError, match="cannot be read as an OCI or docker archive: maximum recursion depth"):
            unpack(tmp_path / "a.tar", tmp_path)


def test_an_archive_whose_entries_go_in_circles_ends(tmp_path: Path) -> None:
    """A size below nothing puts the next entry where this one is."""
    (tmp_path / "a.tar").write_bytes(tar([file("first"), *pax(size="-1536")]))

    with pytest.raises(ArchiveError, match="entry 'x' has -1536 bytes"):
        unpack(tmp_path / "a.tar", tmp_path)


@pytest.mark.parametrize("kind", [b"x", b"g", b"X", b"L", b"K"])
def test_an_entrys_description_is_bounded_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    """A few bytes that announce gigabytes, in the archive or in a layer."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 2 << 30
    announced = header.tobuf(tarfile.GNU_FORMAT) + bytes(10_240)
    members = docker_members([]) | {"0/layer.tar": announced}

    for whole in (announced, tar([file(name, data) for name, data in members.items()])):
        (tmp_path / "a.tar").write_bytes(whole)
        with pytest.raises(ArchiveError, match="an entry's description has 2147483648 bytes; 1048576 is the bound"):
            unpack(tmp_path / "a.tar", tmp_path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_docker_layer_is_held_to_the_digest_of_its_config(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """One that was cut between two files unpacks well otherwise, with fewer of them."""
    members = docker_members([file("a", b"1" * 512), file("b", b"2" * 512)])
    whole = members["0/layer.tar"]
    root = tmp_path / "root"
    root.mkdir()

    for data in (whole, whole[:1024] + bytes(1024)):
        members["0/layer.tar"] = pack(data)
        (tmp_path / "a.tar").write_bytes(tar([file(n, d) for n, d in members.items()]))
        if data is whole:
            unpack(tmp_path / "a.tar", root)
            assert sorted(p.name for p in root.iterdir()) == ["a", "b"]
        else:
            with pytest.raises(ArchiveError, match=r"0/layer\.tar has the digest [0-9a-f]+: the archive is damaged"):
                unpack(tmp_path / "a.tar", root)


def test_a_docker_archive_names_the_digest_of_every_layer(tmp_path: Path) -> None:
    """Without them nobody knows whether it is whole."""
    members = docker_members([file("a")]) | {"config.json": b"{}"}
    (tmp_path / "a.tar").write_bytes(tar([file(n, d) for n, d in members.items()]))

    with pytest.raises(ArchiveError, match=r"it has 1 layers and digests \(rootfs.diff_ids\) of 0"):
        unpack(tmp_path / "a.tar", tmp_path)


def test_an_archive_is_unpacked_once_until_it_is_another(tmp_path: Path) -> None:
    """A file of the same name that was written anew is another image."""
    archive = docker_archive(tmp_path / "a.tar", [file("x", b"1")], config=CONFIG)
    (tmp_path / "images.json").write_text(json.dumps({"*": {"archive": str(archive), "env": {"MODE": "mine"}}}))

    async def roots() -> list[str]:
        images = Images(tmp_path / "images.json", tmp_path / "store")
        both = await asyncio.gather(images.find("a"), images.find("b"))
        assert both[0].env == {"PATH": "/opt/x/bin:/bin", "MODE": "mine"}
        assert both[0].recipe == Recipe(
            env={"PATH": "/opt/x/bin:/bin", "MODE": "a=b"},
            entrypoint=("tool",),
            command=("word",),
            user="me",
            directory="/home",
        )
        docker_archive(archive, [file("x", b"22" * 10_000)])
        return [*(image.root for image in both), (await images.find("a")).root]

    first, second, third = asyncio.run(roots())
    assert first == second != third
    assert Path(third, "x").read_bytes() == b"22" * 10_000


TOOL = b"""#!/bin/sh
echo $0 "$@" $MODE in $PWD as $(id -u):$(id -g)
ls /
cat /etc/hostname /etc/here
echo x 2>/dev/null >/opt/x/mine && echo written || echo kept
test -w /dev/null && test -e /proc/self/status && echo kernel
"""
PASSWD = b"root:x:0:0::/:/bin/sh\nme:x:1337:1338::/:/bin/sh\n"


def owner(tmp_path: Path, layer: Layer, user: str = "") -> tuple[int, int]:
    archive = docker_archive(tmp_path / "a.tar", layer, config={"User": user})
    return found({"i": {"archive": str(archive)}}, "i", tmp_path).owner()


@pytest.mark.parametrize(("user", "expected"), [("", (0, 0)), ("7", (7, 0)), (":5", (0, 5)), ("7:5", (7, 5))])
def test_an_image_without_a_passwd_file_has_numbers_for_users(tmp_path: Path, user: str, expected: Any) -> None:
    """One that names nobody is root's, as an image of a single program is."""
    assert owner(tmp_path, [file("x")], user) == expected


def test_users_are_read_from_the_images_own_passwd_file(tmp_path: Path) -> None:
    """A link there is followed as in the image, never to the machine's."""
    (tmp_path / "passwd").write_bytes(PASSWD)

    assert owner(tmp_path, [link("etc/passwd", "/usr/passwd"), file("usr/passwd", PASSWD)], "me") == (1337, 1338)
    with pytest.raises(ImageError, match="unable to find user me"):
        owner(tmp_path, [link("etc/passwd", str(tmp_path / "passwd"))], "me")


@pytest.mark.parametrize(
    ("said", "expected"),
    [({}, (1337, 1338)), ({"runAsGroup": 0}, (1337, 0)), ({"runAsUser": 7}, (7, 0)), ({"runAsGroup": 5}, (1337, 5))],
)
def test_what_the_pod_says_goes_before_the_images_owner(said: dict[str, int], expected: Any) -> None:
    """Group 0 is a word too."""
    given = rights(pod("p", securityContext=said), {"name": "app"}, (1337, 1338))

    assert (given.uid, given.gid) == expected


@pytest.mark.parametrize("user", ["x", "99999999999", "4294967295", "²"])
def test_what_is_nobodys_number_is_nobody(tmp_path: Path, user: str) -> None:
    """In the image's config or in its passwd file."""
    with pytest.raises(ImageError, match=f"unable to find user {user}: no matching entries"):
        owner(tmp_path, [file("etc/passwd", b"x:x:1:a:::\ny:x:99999999999:1:::\n")], user)


def machine_of_its_own(tmp_path: Path) -> dict[str, Any]:
    layer = [
        *programs("sh", "ls", "cat", "id"),
        file("etc/passwd", PASSWD),
        directory("home"),
        directory("opt/x", mode=0o777),
        file("opt/x/bin/tool", TOOL, mode=0o755),
    ]
    return {"own": {"archive": str(oci_archive(tmp_path / "own.tar", layer, config=CONFIG))}}


def test_a_pod_runs_from_its_image(tmp_path: Path) -> None:
    """The image's programs, user, words and directory; the machine's files are not there; volumes and the kubelet's files are."""

    async def scenario(node: Node) -> None:
        mounts = [{"name": "v", "mountPath": "/etc/here", "subPath": "here"}]
        locked = {"readOnlyRootFilesystem": True, "runAsUser": 7}
        parts = [
            {"name": "plain", "image": "own", "volumeMounts": mounts},
            container("locked", ["tool"], image="own", args=["$(MODE)"], volumeMounts=mounts, securityContext=locked),
        ]
        volumes = [{"name": "v", "configMap": {"name": "given"}}]
        await node.make(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "given"}, "data": {"here": "given\n"}},
            pod("own", restartPolicy="Never", containers=parts, volumes=volumes),
        )
        await node.phase("own", "Succeeded")

        tree = "bin\ndev\netc\nhome\nlib\nlib64\nopt\nproc\nsys\n"
        assert await node.log("own", "plain") == (
            f"/opt/x/bin/tool word a=b in /home as 1337:1338\n{tree}own\ngiven\nwritten\nkernel\n"
        )
        assert await node.log("own", "locked") == (
            f"/opt/x/bin/tool a=b a=b in /home as 7:0\n{tree}own\ngiven\nkept\nkernel\n"
        )

    in_node(tmp_path, scenario, machine_of_its_own(tmp_path))


def test_a_pod_whose_archive_is_broken_waits_with_the_sentence(tmp_path: Path) -> None:
    """As with an image no registry has."""
    (tmp_path / "bad.tar").write_bytes(b"nothing")

    async def scenario(node: Node) -> None:
        await node.make(pod("bad", containers=[container(command=["tool"], image="bad")]))

        def waiting() -> Any:
            statuses = node.get("pods", "bad")["status"].get("containerStatuses") or [{"state": {}}]
            return statuses[0]["state"].get("waiting", {}).get("reason") == "ErrImagePull" and statuses[0]

        seen = await node.until(waiting)
        assert 'failed to pull image "bad"' in seen["state"]["waiting"]["message"]
        assert "cannot be read as an OCI or docker archive" in seen["state"]["waiting"]["message"]

    in_node(tmp_path, scenario, {"bad": {"archive": str(tmp_path / "bad.tar")}})
