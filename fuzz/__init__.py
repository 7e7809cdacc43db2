"""Coverage-guided fuzzing of every decoder, by atheris: `make fuzz`, or `.venv-fuzz/bin/python -m fuzz.fuzz_http1 -runs=100000`.

- `fuzz_http1`, `fuzz_http2`, `fuzz_hpack`, `fuzz_client_hello`, `fuzz_detect`, `fuzz_grpc`, `fuzz_carrier`: the targets. Each has `one(data)`,
  which raises when something does not hold; beyond "no exception" they hold that any cut of the bytes reads the same and
  that what we would send on reads as what we have read.
- `run`: hands a target to atheris. `pure`: loads the sources though compiled modules lie beside them, so that atheris sees
  which branches were taken.
- `keep`: takes from a folder what reaches something new. `corpora/<target>/`: what is kept, and made by `seeds`. The
  test suite replays it without atheris.
"""
