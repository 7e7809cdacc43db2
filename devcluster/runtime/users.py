"""Whether pods can have users of their own here, asked before a cluster is started.

In: this process's user and the machine's files. Out: a sentence that says why not and what an administrator can do; empty when they can.
"""

from __future__ import annotations

import getpass
import os
import shutil

from devcluster.runtime import linux


def why_one_user() -> str:
    """Say why every container would run as the same user, whatever `runAsUser` says."""
    if os.geteuid() == 0:
        return ""
    if shutil.which("newuidmap") is None or shutil.which("newgidmap") is None:
        return "newuidmap is not installed; as root run: apt-get install uidmap"
    if linux.first_subordinate("/etc/subuid") and linux.first_subordinate("/etc/subgid"):
        return ""
    ranges = "--add-subuids 100000-165535 --add-subgids 100000-165535"
    return f"{getpass.getuser()} has no ranges in /etc/subuid and /etc/subgid; as root run: usermod {ranges} {getpass.getuser()}"
