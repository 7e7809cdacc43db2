"""What a sidecar costs that has nothing to do, which is what most sidecars of a cluster are."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.support.certs import Authority
from tests.support.ports import free_ports
from tests.support.sidecar import ROOT, chain, cluster, http, listener, sidecar, to, write

WATCHED_SECONDS = 6.0
"""Whatever a sidecar does every five seconds is in it."""

NOT_AT_REST = {
    "argparse": "the injector gives no arguments",
    "ast": "no source is read",
    "calendar": "the times in a certificate have one form",
    "cryptography": "a helper that ends makes the key",
    "dataclasses": "records share their code, and have none made at each start",
    "dis": "no bytecode is read",
    "google.protobuf.descriptor_pb2": "the pool is filled with bytes",
    "google.protobuf.internal.python_message": "the compiled half of protobuf is all that is used",
    "google.protobuf.json_format": "only a file is JSON",
    "pickle": "one worker alone speaks to no other",
    "_strptime": "the times in a certificate have one form",
    "dataplane.dump": "it is asked by hand",
    "dataplane.proxy.request.explain": "it is asked by hand",
    "dataplane.telemetry.packing": "nobody has scraped it yet",
    "dataplane.telemetry.scrape": "nobody has scraped it yet",
    "dataplane.xds.asked": "the control plane asks few",
    "dataplane.xds.file": "a sidecar of a mesh has none",
    "hashlib": "few apps have WebSockets",
    "inspect": "nobody asks functions what they take",
    "locale": "the numbers of a calendar are not in anybody's language",
    "random": "a generator is all that is used of it",
    "ssl": "its lists of names are for people",
    "textwrap": "no traceback is put out",
    "tokenize": "no source is read",
    "yaml": "only a file is YAML",
}
"""What would stay for the life of a sidecar of a mesh, and why it need not."""

_STARTED = """
import sys
import types
from dataplane import __main__, certificate, settings
from dataplane.xds import decode
from meshapi import names, protos, xds
sys.argv = ["tulle-proxy"]
try:
    settings.from_process()
except settings.BadSettingError as told:
    assert names.ENV_XDS_ADDRESS in str(told), told
cluster = protos.message("envoy.config.cluster.v3.Cluster")(name="c", connect_timeout={"seconds": 1})
cluster.type = 3
cluster.eds_cluster_config.eds_config.ads.SetInParent()
decode.decode(xds.Type.CLUSTER, "c", cluster.SerializeToString())
certificate.validity(sys.stdin.buffer.read())
print(*(name for name, module in sys.modules.items() if type(module) is types.ModuleType))
"""


def sleeps(pid: int) -> int:
    """How often a process went to sleep so far, over all its threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return total


def test_idle_sidecar_wakes_up_less_than_once_a_second(tmp_path: Path) -> None:
    """On a node of a hundred pods each look at the clock is a hundred; without traffic there is nothing to look after."""
    (port,) = free_ports(1)
    config = write(tmp_path / "idle.json", [listener("in", port, chain(http([to("app")])))], [cluster("app", 9)])
    with sidecar(config, tmp_path, TULLE_MEMORY_LIMIT=str(1 << 30)) as running:
        time.sleep(1.0)  # the readiness it was asked for stirred it; from then on it is time itself that is measured
        before = sleeps(running.process.pid)
        time.sleep(WATCHED_SECONDS)
        woken = sleeps(running.process.pid) - before

    assert woken < WATCHED_SECONDS


def test_sidecar_at_rest_holds_nothing_it_has_no_use_for() -> None:
    """A module that is loaded stays; this one was started, read a resource and a certificate."""
    chained, _ = Authority().issue("spiffe://cluster.local/ns/shop/sa/web")
    done = subprocess.run([sys.executable, "-c", _STARTED], cwd=ROOT, input=chained, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()

    assert NOT_AT_REST.keys() & set(done.stdout.decode().split()) == set()


_TELLING = """
import atexit
import os
import sys
import types
def tell():
    with open(os.environ["TOLD"], "w") as told:
        print(*(name for name, module in sys.modules.items() if type(module) is types.ModuleType), file=told)
atexit.register(tell)
"""

NEVER = {"ast", "calendar", "dataclasses", "dis", "inspect", "ssl", "textwrap", "tokenize"}
"""Of `NOT_AT_REST` what has no use for one that runs from a file either."""


def test_sidecar_that_ran_loaded_nothing_more_by_running(tmp_path: Path) -> None:
    """To wait for signals, to answer and to end it asks for nothing that was postponed."""
    (port,) = free_ports(1)
    config = write(tmp_path / "ran.json", [listener("in", port, chain(http([to("app")])))], [cluster("app", 9)])
    (tmp_path / "sitecustomize.py").write_text(_TELLING)
    with sidecar(config, tmp_path, PYTHONPATH=str(tmp_path), TOLD=str(tmp_path / "told")) as running:
        running.ask("/healthz/ready")
    loaded = set((tmp_path / "told").read_text().split())

    assert "dataplane.app" in loaded
    assert NEVER & loaded == set()


_ALLOCATED = """
import ctypes
import threading
from dataplane.net import system
system.one_heap()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_size_t
places = []
thread = threading.Thread(target=lambda: places.append(libc.malloc(1000)))
thread.start()
thread.join()
heap = next(line for line in open("/proc/self/maps") if line.rstrip().endswith("[heap]"))
begin, end = (int(part, 16) for part in heap.split()[0].split("-"))
print(begin <= places[0] < end, system.__file__.endswith(".so"))
"""


def test_threads_have_no_heaps_of_their_own() -> None:
    """The one that looked up the control plane's name ends with nothing to do, and what it had would be kept for it."""
    command = [sys.executable, "-c", _ALLOCATED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    within, compiled = done.stdout.split()

    assert within == compiled
