"""Runs what writes the rules, then looks whether they are there: a pod must not start half captured.

In: `CaptureSettings`. Out: one sentence saying what was done. Refuses, with a `CaptureError` that says what to change:
without NET_ADMIN, without nft and iptables, when the kernel refuses, and when the rules cannot be found afterwards.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which

from dataplane.capture import iptables, rules
from dataplane.capture.settings import CaptureSettings

_NET_ADMIN = 12
_SECONDS = 30


class CaptureError(RuntimeError):
    """The rules are not in force; the message says why and what would help."""


def apply(settings: CaptureSettings) -> str:
    """Write the rules with the first tool that works; raises CaptureError."""
    if not _may_change_the_network():
        raise CaptureError(
            "this container lacks the capability NET_ADMIN; the pod's namespace must allow it to tulle-init"
            " (Pod Security level `privileged`, or an exemption)"
        )
    problems: list[str] = []
    for name, program, write in (("nft", "nft", _with_nft), ("iptables", "iptables-restore", _with_iptables)):
        if settings.backend not in {"auto", name}:
            continue
        if which(program) is None:
            problems.append(f"{program} is not installed")
            continue
        try:
            write(settings)
        except CaptureError as problem:
            problems.append(str(problem))
        else:
            return f"connections are captured ({name})"
    raise CaptureError("; ".join(problems))


def _may_change_the_network() -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _NET_ADMIN & 1)
    return False


def _with_nft(settings: CaptureSettings) -> None:
    _run(["nft", "-f", "-"], rules.transaction(settings))
    listed = _run(["nft", "list", "table", *rules.TABLE.split()])
    for port in (settings.inbound_port, settings.outbound_port):
        if f"redirect to :{port}" not in listed:
            raise CaptureError(f"nft took the rules, but none that redirects to port {port} is there")


def _with_iptables(settings: CaptureSettings) -> None:
    for version, prefix in ((4, "iptables"), (6, "ip6tables")):
        if version == 6 and not Path("/proc/net/if_inet6").exists():
            continue
        hooked = [hook for hook, chain in iptables.HOOKS if _is_hooked(prefix, hook, chain)]
        _run([f"{prefix}-restore", "--noflush"], iptables.restore(settings, version, hooked=hooked))
        if not all(_is_hooked(prefix, hook, chain) for hook, chain in iptables.HOOKS):
            raise CaptureError(f"{prefix} took the rules, but they are not there")


def _is_hooked(prefix: str, hook: str, chain: str) -> bool:
    command = [prefix, "-t", "nat", "-C", hook, "-p", "tcp", "-j", chain]
    return subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS).returncode == 0


def _run(command: list[str], text: str | None = None) -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise CaptureError(f"{command[0]} cannot be run: {problem}") from None
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())
        raise CaptureError(f"{' '.join(command)} failed: {said or f'exit status {done.returncode}'}")
    return done.stdout
