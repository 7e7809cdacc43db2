"""What a container finds of the machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.support.archives import directory, link, oci_archive, programs
from tests.support.node import Node, in_node
from tests.support.objects import container, pod

MOUNTS = [{"name": "tmp", "mountPath": "/tmp"}]
TOOL = "#!/bin/sh\necho found by $(id -u), $(ls -A /tmp/here)\n"


def test_image_in_a_closed_directory_below_tmp_is_there_for_every_user(tmp_path: Path) -> None:
    """A clone made with mktemp, a pod that is not root and has a volume over /tmp: its programs are found all the same."""

    async def scenario(node: Node) -> None:
        made = pod(
            "closed",
            restartPolicy="Never",
            initContainers=[container("touch", ["touch", "/tmp/here"], volumeMounts=MOUNTS)],
            containers=[container(command=["tool"], volumeMounts=MOUNTS)],
            securityContext={"runAsUser": 1337, "fsGroup": 1337},
            volumes=[{"name": "tmp", "emptyDir": {}}],
        )
        await node.make(made)
        await node.phase("closed", "Succeeded")

        assert await node.log("closed") == "found by 1337, /tmp/here\n"

    with tempfile.TemporaryDirectory(dir="/tmp") as home:
        programs = Path(home, "tulle", "bin")
        programs.mkdir(parents=True)
        tool = programs / "tool"
        tool.write_text(TOOL)
        tool.chmod(0o755)
        Path(home).chmod(0o700)
        in_node(tmp_path, scenario, {"*": {"path": [str(programs)]}})
        assert Path(home).stat().st_mode & 0o777 == 0o700


def image(place: Path, *entries: Any, **config: Any) -> dict[str, str]:
    whole = {"Cmd": ["sh", "-c", "pwd"], "Env": ["PATH=/bin"], "User": "0", **config}
    return {"archive": str(oci_archive(place, [*programs("sh"), *entries], config=whole))}


def test_an_image_has_no_way_to_the_machines_files_while_its_pod_starts(tmp_path: Path) -> None:
    """Neither by a link in the place of /etc or /dev nor by its working directory; such links are refused with a sentence."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "hosts").write_text("mine")
    former = f"/.node{outside}"
    table = {
        "etc": image(tmp_path / "etc.tar", link("etc", former)),
        "far": image(tmp_path / "far.tar", directory("opt"), link("opt/way", former), link("etc", "/opt/way/deeper")),
        "dev": image(tmp_path / "dev.tar", link("dev", former)),
        "cwd": image(tmp_path / "cwd.tar", WorkingDir=f"{former}/made"),
    }

    async def scenario(node: Node) -> None:
        for name in table:
            await node.make(pod(name, restartPolicy="Never", containers=[{"name": "app", "image": name}]))
        for name in table:
            await node.phase(name, "Failed")
            ended = node.get("pods", name)["status"]["containerStatuses"][0]["state"]["terminated"]
            assert f"leads to {former}" in ended["message"]
            assert "out of the image" in ended["message"]

    in_node(tmp_path, scenario, table)
    assert [(p.name, p.read_text()) for p in outside.iterdir()] == [("hosts", "mine")]


def test_a_place_below_a_volume_is_made_of_that_volume_and_never_of_the_machine(tmp_path: Path) -> None:
    """A volume in a read-only one, at a path the machine has too."""
    place = tmp_path / "conf"
    place.mkdir()
    (place / "key").write_text("the machine's")
    script = f"read word < {place}/key; echo $word; cd {place}/below && pwd"
    table = {"own": image(tmp_path / "own.tar", Cmd=["sh", "-c", script])}
    mounts = [{"name": "c", "mountPath": str(place)}, {"name": "e", "mountPath": f"{place}/below"}]

    async def scenario(node: Node) -> None:
        volumes = [{"name": "c", "configMap": {"name": "given"}}, {"name": "e", "emptyDir": {}}]
        one = {"name": "app", "image": "own", "volumeMounts": mounts}
        await node.make(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "given"}, "data": {"key": "given"}},
            pod("nested", restartPolicy="Never", containers=[one], volumes=volumes),
        )
        await node.phase("nested", "Succeeded")
        assert await node.log("nested", "app") == f"given\n{place}/below\n"

    in_node(tmp_path, scenario, table)
