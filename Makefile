# One verb a target. Every target sets up what it needs; `make setup` alone does just that.
SHELL := /bin/bash
PY := .venv/bin/python
STAMP := .venv/.ready

.PHONY: setup demo image test chaos check bench bench-quick bench-check manifests clean pure compile protos messages lock help reference fuzz bench-control-plane

help:            ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## +/\t/' | expand -t 21

setup: $(STAMP) compile  ## install everything: Debian packages (as root), the venvs, the compiled extension

$(STAMP): requirements.lock requirements-envoy.lock tools/setup.sh
	@tools/setup.sh
	@touch $@

compile: $(STAMP)  ## build the compiled modules in place, and the bytecode, which a pod's user could not write
	@$(PY) setup.py -q build_ext --inplace -j $$(nproc)
	@$(PY) -m compileall -q meshapi controlplane dataplane devcluster tulle

pure: $(STAMP)     ## run the data plane's tests without the compiled modules
	@find dataplane -name '*.so' -delete
	@$(PY) -m pytest tests/dataplane $(ARGS)
	@$(MAKE) -s compile

demo: setup      ## a cluster, the mesh and a shop on this machine, from the image if it is built; ARGS="--once --json demo.json" runs it once
	@image=$$($(PY) -m tools.image --present); $(PY) -m tulle demo $${image:+--image "$$image"} $(ARGS)

image: setup     ## build the image from this tree: build/image/tulle.tar; ARGS="--base NAME" starts from another Debian 13
	@$(PY) -m tools.image $(ARGS)

test: setup      ## the image and all tests, in two lanes (LANES=0: in one process); T=<path or pytest expression> runs a part, in one
	@$(if $(T),,$(PY) -m tools.image || echo "tests/image says the same; all other tests run" >&2)
	@$(PY) -m pytest $(if $(T),$(if $(wildcard $(firstword $(subst ::, ,$(T)))),$(T),-k "$(T)"),-n $(or $(LANES),2) --max-worker-restart=0) $(ARGS)

chaos: setup     ## a mesh under load and what happens to it: MINUTES=60, SEED=<what a run printed>, ARGS="--only killed --short"
	@$(PY) -m tests.chaos --minutes $(or $(MINUTES),60) $(if $(SEED),--seed $(SEED)) $(ARGS)

check: setup     ## style, types and import directions, without the behaviour tests
	@.venv/bin/ruff check . && .venv/bin/ruff format --check -q .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(PY) -m pytest tests/architecture

bench: setup     ## side by side with real peers; writes benchmarks/results/ and docs/performance.md
	@$(PY) -m benchmarks $(ARGS)

bench-quick: setup ## the cases with goals alone, in about four and a half minutes
	@$(PY) -m benchmarks --quick $(ARGS)

bench-check: setup ## measure the cases with goals and fail where one got worse than the committed summary
	@$(PY) -m benchmarks --quick --check $(ARGS)

bench-control-plane: setup ## the control plane under clusters up to 50,000 pods; writes benchmarks/results/control_plane.json; ARGS="--quick" does less and writes nothing
	@$(PY) -m benchmarks.control $(ARGS)

manifests: setup ## render manifests/install.yaml from the chart
	@$(PY) tools/render_manifests.py

reference: setup ## write docs/reference/ from the code
	@$(PY) tools/gen_reference.py

fuzz: $(STAMP)   ## fuzz every decoder, FOR=60 seconds each
	@test -x .venv-fuzz/bin/python || { python3 -m venv .venv-fuzz && .venv-fuzz/bin/pip install -q atheris==3.0.0; }
	@for t in http1 http2 hpack client_hello detect grpc carrier; do \
	  nice .venv-fuzz/bin/python -m fuzz.fuzz_$$t -max_total_time=$(or $(FOR),60) -max_len=400 -artifact_prefix=crash-$$t- || exit 1; done

protos:          ## rebuild meshapi/descriptors.binpb from the xDS protos and ca.proto
	@test -d .venv-xds || (python3 -m venv .venv-xds && .venv-xds/bin/pip install -q -r requirements-xds.lock)
	@.venv-xds/bin/python tools/gen_xds.py
	@$(MAKE) -s messages

messages:        ## rebuild dataplane/xds/messages.binpb: of those protos, what a sidecar reads
	@$(PY) -m tools.gen_messages

lock: $(STAMP)   ## resolve the versions in pyproject.toml anew
	@.venv/bin/uv pip compile -q --universal --no-emit-index-url --no-header --no-annotate --extra dev pyproject.toml -o requirements.lock

clean:           ## remove everything made by the other targets
	rm -rf .venv .venv-xds .venv-envoy .venv-fuzz build *.egg-info .devcluster demo.json .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find dataplane \( -name '*.so' -o -name '*.c' \) -delete
