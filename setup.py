"""The Cython extensions and their flags, nothing else; `python setup.py build_ext --inplace` builds them beside their sources.

Not building is the pure variant (`make pure`, or `TULLE_PURE=1` in the environment of an install): every module here
also runs uncompiled, slower, with the same tests.
"""

import os
import shutil
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup

MODULES = [
    "dataplane/protocol/events.py",
    "dataplane/protocol/fields.py",
    "dataplane/protocol/chars.py",
    "dataplane/protocol/carrier.py",
    "dataplane/protocol/http1/line.py",
    "dataplane/protocol/http1/scan.py",
    "dataplane/protocol/http1/body.py",
    "dataplane/protocol/http1/writer.py",
    "dataplane/protocol/http1/connection.py",
    "dataplane/protocol/http1/server.py",
    "dataplane/protocol/http1/client.py",
    "dataplane/protocol/hpack/huffman.py",
    "dataplane/protocol/hpack/decoder.py",
    "dataplane/protocol/hpack/encoder.py",
    "dataplane/protocol/http2/frames.py",
    "dataplane/protocol/http2/states.py",
    "dataplane/protocol/http2/stream.py",
    "dataplane/protocol/http2/streams.py",
    "dataplane/protocol/http2/flood.py",
    "dataplane/protocol/http2/reader.py",
    "dataplane/protocol/http2/writer.py",
    "dataplane/protocol/http2/pieces.py",
    "dataplane/protocol/http2/inflow.py",
    "dataplane/protocol/http2/outflow.py",
    "dataplane/protocol/http2/endings.py",
    "dataplane/protocol/http2/rules.py",
    "dataplane/protocol/http2/connection.py",
    "dataplane/protocol/http2/server.py",
    "dataplane/protocol/http2/client.py",
    "dataplane/telemetry/metrics.py",
    "dataplane/telemetry/scrape.py",
    "dataplane/tables/matching.py",
    "dataplane/tables/paths.py",
    "dataplane/tables/edits.py",
    "dataplane/tables/health.py",
    "dataplane/tables/turns.py",
    "dataplane/tables/endpoints.py",
    "dataplane/tables/routes.py",
    "dataplane/tables/conditions.py",
    "dataplane/tables/authz.py",
    "dataplane/tables/listeners.py",
    "dataplane/proxy/request/notes.py",
    "dataplane/proxy/worker/runtime.py",
    "dataplane/proxy/request/call.py",
    "dataplane/proxy/connection.py",
    "dataplane/proxy/server/upstream.py",
    "dataplane/proxy/server/pool.py",
    "dataplane/proxy/request/deadlines.py",
    "dataplane/proxy/request/replay.py",
    "dataplane/proxy/request/taker.py",
    "dataplane/proxy/request/asking.py",
    "dataplane/proxy/request/choice.py",
    "dataplane/proxy/request/attempt.py",
    "dataplane/proxy/client/terms.py",
    "dataplane/proxy/stages/face.py",
    "dataplane/proxy/stages/authorization.py",
    "dataplane/proxy/stages/edits.py",
    "dataplane/proxy/request/answering.py",
    "dataplane/proxy/request/exchange.py",
    "dataplane/proxy/client/downstream.py",
    "dataplane/proxy/relay/carrier.py",
    "dataplane/proxy/relay/sides.py",
    "dataplane/proxy/relay/relay.py",
    "dataplane/net/system.pyx",
    "dataplane/net/timers.py",
    "dataplane/net/poller.py",
    "dataplane/net/outlet.py",
    "dataplane/net/receiver.py",
    "dataplane/net/stream.py",
    "dataplane/net/openssl.pyx",
    "dataplane/net/tls_engine.pyx",
    "dataplane/net/tls_stream.py",
    "dataplane/net/splice.py",
]
CORES = os.cpu_count() or 1
FLAGS = [
    "-O2",
    "-g0",
    "-Wno-sign-compare",
    "-Werror=incompatible-pointer-types",  # a bound method of a compiled class, passed as a callback, would be called as another one
]  # Cython's own loops compare signs; a warning each hides the ones that count
# Nobody asks a sidecar's functions for their signatures or docstrings: without both a pod has 1.4 MB less.
DIRECTIVES = {"annotation_typing": False, "language_level": 3, "binding": False, "auto_pickle": False}
Options.docstrings = False


def extensions() -> list[Extension]:
    """Translate the modules to C; refuses, in one sentence, where no compiler could build that."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        raise SystemExit(
            f"no C compiler: '{compiler}' is not on PATH; install gcc (Debian: apt-get install gcc) or run `make pure`"
        )
    names = {source: str(Path(source).with_suffix("")).replace("/", ".") for source in MODULES}
    found = [Extension(name, [source], extra_compile_args=FLAGS) for source, name in names.items()]
    return list(cythonize(found, compiler_directives=DIRECTIVES, quiet=True, nthreads=CORES))


if __name__ == "__main__":  # Cython translates in processes of its own, which import this file on some systems
    pure = os.environ.get("TULLE_PURE") == "1"
    setup(ext_modules=[] if pure else extensions(), options={"build_ext": {"parallel": CORES}})
