"""The system calls Python 3.11 lacks, and the node's own namespaces.

Everything raises OSError with the call's name. Constants have the kernel's names. Uses nothing but the standard library, since the
process that becomes a container imports it too.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

PR_SET_PDEATHSIG: Final = 1
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Move this thread (for NEWPID: its next child) into new namespaces."""
    _checked(_LIBC.unshare(flags), "unshare")


def setns(descriptor: int, flags: int) -> None:
    """Move this thread into the namespace the descriptor stands for."""
    _checked(_LIBC.setns(descriptor, flags), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount; empty words are passed as none."""
    done = _LIBC.mount(
        source.encode() or None,
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _checked(done, f"mount {kind or source} on {target}")


def bind(source: str, target: str, *, read_only: bool = False, recursive: bool = True) -> None:
    """Show a file or directory at another place, optionally read-only there."""
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        make_read_only(target)


def make_read_only(target: str) -> None:
    """Make one mount read-only; flags a user namespace may not clear are kept."""
    kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | kept)


def detach(target: str) -> None:
    """Take a mount and all below away now; it ends when nobody uses it."""
    _checked(_LIBC.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace and show the former one at `old`."""
    number = _PIVOT_ROOT.get(os.uname().machine, 41)
    _checked(_LIBC.syscall(ctypes.c_long(number), new.encode(), old.encode()), "pivot_root")


def prctl(option: int, value: int) -> int:
    """Change or ask a property of this process."""
    unused = ctypes.c_ulong(0)
    return _checked(_LIBC.prctl(option, ctypes.c_ulong(value), unused, unused, unused), "prctl")


def enter_node() -> None:
    """Move this process into the node's namespaces; must run before any thread is started.

    A user who is not root gets a user namespace first, with the ranges of /etc/subuid and /etc/subgid where newuidmap may give
    them, else with one user only: then every container runs as that user, whatever `runAsUser` says.
    """
    if os.geteuid() != 0:
        _enter_user()
    unshare(CLONE_NEWNET | CLONE_NEWNS)
    mount("", "/", flags=MS_REC | MS_PRIVATE)


def _enter_user() -> None:
    uid, gid, process = os.getuid(), os.getgid(), os.getpid()
    ready, go = os.pipe()
    answer, said = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(go)
        os.read(ready, 1)
        os.write(said, b"1" if _map_ranges(process, uid, gid) else b"0")
        os._exit(0)
    try:
        unshare(CLONE_NEWUSER)
    except OSError as refused:
        raise OSError(
            refused.errno, f"this user may not make user namespaces, so only root can run pods: {refused}"
        ) from None
    finally:
        os.close(go)
    mapped = os.read(answer, 1) == b"1"
    os.waitpid(helper, 0)
    for descriptor in (ready, answer, said):
        os.close(descriptor)
    if not mapped:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            Path("/proc/self", name).write_text(text, encoding="ascii")
    os.setgid(0)
    os.setuid(0)


def _map_ranges(process: int, uid: int, gid: int) -> bool:
    for program, own in (("newuidmap", uid), ("newgidmap", gid)):
        first = first_subordinate("/etc/subuid" if program == "newuidmap" else "/etc/subgid")
        if first is None:
            return False
        command = [program, str(process), "0", str(own), "1", "1", str(first[0]), str(first[1])]
        try:
            if subprocess.run(command, check=False, capture_output=True).returncode:
                return False
        except OSError:
            return False
    return True


def first_subordinate(path: str) -> tuple[int, int] | None:
    """Find the first range of this user in /etc/subuid or /etc/subgid: where it begins and how long it is."""
    import pwd  # noqa: PLC0415 - only a user who is not root comes here; containers start faster without it

    names = {str(os.getuid()), pwd.getpwuid(os.getuid()).pw_name}
    try:
        rows = [line.strip().split(":") for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except OSError:
        return None
    return next(((int(row[1]), int(row[2])) for row in rows if len(row) == 3 and row[0] in names), None)


def one_user_only() -> bool:
    """Whether this user namespace has a single user, so that `runAsUser` cannot be honoured."""
    rows = [line.split() for line in Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()]
    return sum(int(row[2]) for row in rows) == 1
