"""Real programs as peers: found by name, run on ports of the loopback, ended by the process id they were started with."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.envoy import BINARY as ENVOY

_PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")
_PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "redis-server": "redis-server",
    "redis-cli": "redis-tools",
    "psql": "postgresql-client",
    "postgres": "postgresql",
    "initdb": "postgresql",
    "h2load": "nghttp2-client",
    "nghttpd": "nghttp2-server",
    "curl": "curl",
    "node": "nodejs",
    "go": "golang-go",
}
SECONDS = 20.0
"""How long a peer may take to answer at all; the machine may be busy."""


class MissingProgramError(AssertionError):
    """A peer is not installed; the message says what to install."""


def program(name: str) -> str:
    """Find a program, or fail with the sentence that says how to get it."""
    places = [*_PLACES, *(str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        package = _PACKAGES.get(name, name)
        raise MissingProgramError(f"{name} is not installed; run tools/setup.sh, or apt-get install {package}")
    return found


class Peer:
    """A running program and what it said."""

    def __init__(self, arguments: Sequence[str], log: Path, *, env: dict[str, str] | None = None) -> None:
        self.name = Path(arguments[0]).name
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                list(arguments), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=log.parent
            )

    def words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:]

    def until(self, check: Callable[[], bool]) -> None:
        """Wait until the check holds; a program that has ended fails with its own words."""
        end = time.monotonic() + SECONDS
        while not check():
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}:\n{self.words()}"
            assert time.monotonic() < end, f"{self.name} is not ready after {SECONDS} s:\n{self.words()}"
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not end:\n{self.words()}") from None


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def running(
    arguments: Sequence[str], log: Path, port: int, *, number: int = signal.SIGTERM, env: dict[str, str] | None = None
) -> Iterator[Peer]:
    """Run a program that listens on a port, until the end of the block."""
    peer = Peer(arguments, log, env=env)
    try:
        peer.until(lambda: answers(port))
        yield peer
    finally:
        peer.end(number)


@contextmanager
def envoy_from_file(config: Path, directory: Path, *ports: int) -> Iterator[Peer]:
    """Run Envoy with a bootstrap file."""
    if not ENVOY.exists():
        raise MissingProgramError(f"{ENVOY} is not there; run tools/setup.sh, which installs Envoy")
    arguments = [str(ENVOY), "-c", str(config), "--disable-hot-restart", "--concurrency", "1", "-l", "warning"]
    peer = Peer(arguments, directory / "envoy.log")
    try:
        peer.until(lambda: all(answers(port) for port in ports))
        yield peer
    finally:
        peer.end()


@contextmanager
def nginx(directory: Path, port: int, server: str) -> Iterator[Peer]:
    """Run nginx with the inside of a `server` block."""
    here = directory / "nginx"
    here.mkdir()
    temporary = "\n".join(
        f"{kind}_temp_path {here}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = f"""
daemon off; master_process off; pid {here}/pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{ access_log off; keepalive_requests 10000; {temporary}
server {{ {server} }} }}
"""
    (here / "nginx.conf").write_text(config)
    arguments = [program("nginx"), "-p", str(here), "-c", str(here / "nginx.conf"), "-e", str(here / "error.log")]
    with running(arguments, here / "log", port, number=signal.SIGQUIT) as peer:
        yield peer


@contextmanager
def haproxy(directory: Path, config: str, port: int) -> Iterator[Peer]:
    """Run haproxy with these sections after some defaults."""
    path = directory / "haproxy.cfg"
    defaults = "defaults\n  mode http\n  timeout connect 5s\n  timeout client 10s\n  timeout server 10s\n"
    path.write_text(f"global\n  maxconn 500\n{defaults}{config}\n")
    with running(
        [program("haproxy"), "-db", "-f", str(path)], directory / "haproxy.log", port, number=signal.SIGUSR1
    ) as peer:
        yield peer


@contextmanager
def nghttpd(directory: Path, port: int) -> Iterator[Peer]:
    """Run nghttpd without TLS over a directory of files."""
    arguments = [program("nghttpd"), "--no-tls", "-a", "127.0.0.1", "-d", str(directory), str(port)]
    with running(arguments, directory / "nghttpd.log", port) as peer:
        yield peer


@contextmanager
def redis(directory: Path, port: int) -> Iterator[Peer]:
    """Run a Redis that keeps nothing."""
    arguments = [
        program("redis-server"),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    with running(arguments, directory / "redis.log", port) as peer:
        yield peer


@contextmanager
def postgres(directory: Path, port: int, certificate: bytes, key: bytes) -> Iterator[Peer]:
    """Run a PostgreSQL with TLS of its own; it refuses to run as root, so it then runs as `postgres`."""
    data = Path(tempfile.mkdtemp(prefix="tulle-pg-"))  # pytest's directories are open to their owner only
    prefix: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(data, "postgres", "postgres")
        prefix = [program("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    try:
        yield from _postgres(prefix, data, directory / "pg.log", port, (certificate, key))
    finally:
        shutil.rmtree(data)


def _postgres(prefix: list[str], data: Path, log: Path, port: int, pair: tuple[bytes, bytes]) -> Iterator[Peer]:
    init = [
        *prefix,
        program("initdb"),
        "-D",
        str(data),
        "-U",
        "tester",
        "--auth=trust",
        "--no-sync",
        "--no-instructions",
    ]
    made = subprocess.run(init, check=False, capture_output=True, timeout=60, cwd="/")
    assert made.returncode == 0, made.stderr.decode(errors="replace")
    for name, content in zip(("server.crt", "server.key"), pair, strict=True):
        path = data / name
        path.write_bytes(content)
        path.chmod(0o600)
        if prefix:
            shutil.chown(path, "postgres", "postgres")
    options = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "ssl": "on",
        "fsync": "off",
        "unix_socket_directories": "",
    }
    flags = [part for key_, value in options.items() for part in ("-c", f"{key_}={value}")]
    with running([*prefix, program("postgres"), "-D", str(data), *flags], log, port, number=signal.SIGINT) as peer:
        yield peer


def run(*arguments: str, timeout: float = 60, data: bytes | None = None, env: dict[str, str] | None = None) -> str:
    """Run a client to its end; return what it wrote, fail with what it complained of."""
    done = subprocess.run(
        [program(arguments[0]), *arguments[1:]],
        input=data,
        capture_output=True,
        timeout=timeout,
        check=False,
        env=None if env is None else os.environ | env,
    )
    words = done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{arguments[0]} ended with {done.returncode}: {words}\n{done.stdout[-2000:]!r}"
    return done.stdout.decode(errors="replace")
