"""What telling a sidecar costs beside the message: gRPC's threads."""

from __future__ import annotations

import os
import subprocess
import sys

SERVER = """
import asyncio, os
import controlplane.__main__
import grpc.aio
async def main():
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await server.stop(0)
asyncio.run(main())
print(os.environ["GRPC_EXPERIMENTS"])
"""


def started(**environment: str) -> tuple[str, str]:
    """Start a server in a process of its own, as the program does; what it has chosen, and what gRPC says."""
    clean = {key: value for key, value in os.environ.items() if key != "GRPC_EXPERIMENTS"}
    done = subprocess.run(
        [sys.executable, "-c", SERVER], env=clean | environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip(), done.stderr


def test_grpc_is_told_before_it_is_imported_to_read_its_own_sockets() -> None:
    """And it knows the name: it would log another one as unknown (decision 0022)."""
    chosen, said = started()

    assert chosen == "-event_engine_listener"
    assert "Unknown experiment" not in said


def test_who_sets_the_experiments_has_them() -> None:
    """And what gRPC does not know it says, or the test before would hold in any case."""
    chosen, said = started(GRPC_EXPERIMENTS="-no_such_thing")

    assert chosen == "-no_such_thing"
    assert "Unknown experiment: no_such_thing" in said
