"""What a container finds of the machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

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
