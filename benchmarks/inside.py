"""Our sidecar from the image's file system instead of this tree: `TULLE_IMAGE=build/image/tulle.tar python -m benchmarks` (as root).

In: the archive that TULLE_IMAGE names. Out: the command that runs a sidecar in there, with the directory of its configuration in sight.
It becomes the sidecar by exec, so that its process is the one measured; its mounts are its own and end with it.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from devcluster.runtime.archive import unpack

ARCHIVE = os.environ.get("TULLE_IMAGE", "")
_ENTER = """
root=$1 home=$2; shift 2
for place in /proc /dev "$home"; do mkdir -p "$root$place"; mount --rbind "$place" "$root$place"; done
exec chroot "$root" "$@"
"""


def command(arguments: Sequence[str], home: Path) -> list[str]:
    """Return how the image's sidecar is run with these arguments."""
    sidecar = ["/usr/bin/env", "-i", "PYTHONDONTWRITEBYTECODE=1", "LANG=C.UTF-8", "/opt/tulle/bin/tulle-proxy"]
    return ["unshare", "--mount", "sh", "-ec", _ENTER, "enter", str(_root()), str(home), *sidecar, *arguments]


@functools.cache
def _root() -> Path:
    """Unpack the archive for as long as this process lives; raises ArchiveError."""
    root = Path(tempfile.mkdtemp(prefix="tulle-image-"))
    atexit.register(shutil.rmtree, root)
    unpack(Path(ARCHIVE), root)
    return root
