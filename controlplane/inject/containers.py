"""The two containers and two volumes an injected pod gains, as Kubernetes objects.

In: the pod's options, the operator's settings, the app's probes. Out: plain dicts. The sidecar is valid under the restricted Pod
Security profile. The init container is but for two things it cannot do without: NET_ADMIN and NET_RAW, and user 0, since
Kubernetes gives capabilities to no other user (there are no ambient capabilities in a pod spec).
"""

from __future__ import annotations

import json
from typing import Any

from controlplane.inject.annotations import PodOptions
from controlplane.inject.options import InjectSettings
from controlplane.inject.probes import Table
from meshapi import names

Object = dict[str, Any]

TOKEN_VOLUME = "tulle-token"  # noqa: S105 - a volume's name
STATE_VOLUME = "tulle-state"
VOLUMES = (TOKEN_VOLUME, STATE_VOLUME)

READY = {"path": "/healthz/ready", "port": names.PROXY_ADMIN_PORT, "scheme": "HTTP"}
_STARTUP_TRIES = 600
"""One a second: a sidecar waits for its certificate and first config as long as the control plane needs to come."""

_WAIT_UNTIL_READY = (
    "import time,urllib.request as u\n"
    "while True:\n"
    "  try: u.urlopen('http://127.0.0.1:15020/healthz/ready',timeout=1); break\n"
    "  except OSError: time.sleep(0.1)\n"
)
"""A plain container's postStart hook: the kubelet starts the next container when it ends (only there is no event to await)."""

_TELL_THE_END = (
    "import socket,sys,time\n"
    "try:\n"
    "  s=socket.create_connection(('127.0.0.1',15020),2); s.settimeout(2)\n"
    "  s.sendall(b'POST /drain HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n'); s.recv(1)\n"
    "except OSError: pass\n"
    "time.sleep(float(sys.argv[1]))\n"
)
"""The sidecar's own preStop hook: it is called when the whole pod goes, which the app's is not (the app may only be restarted). From within, so that nobody else can say so."""


def init_container(options: PodOptions, settings: InjectSettings) -> Object:
    """Build the container that writes the pod's capture rules and ends."""
    arguments = []
    if options.exclude_inbound_ports:
        arguments.append(f"--exclude-inbound-ports={_joined(options.exclude_inbound_ports)}")
    if options.exclude_outbound_ports:
        arguments.append(f"--exclude-outbound-ports={_joined(options.exclude_outbound_ports)}")
    if options.exclude_outbound_cidrs:
        arguments.append(f"--exclude-outbound-cidrs={_joined(options.exclude_outbound_cidrs)}")
    container: Object = {
        "name": names.INIT_CONTAINER,
        "image": options.image,
        "imagePullPolicy": settings.proxy.pull_policy,
        "command": ["tulle-init"],
        "resources": _resources(options),
        "securityContext": {
            **_locked(),
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if arguments:
        container["args"] = arguments
    return container


def proxy_container(options: PodOptions, settings: InjectSettings, workload: str, probes: Table) -> Object:
    """Build the sidecar; native or plain is decided by the settings."""
    container: Object = {
        "name": names.PROXY_CONTAINER,
        "image": options.image,
        "imagePullPolicy": settings.proxy.pull_policy,
        "command": ["tulle-proxy"],
        "ports": [{"name": "tulle-admin", "containerPort": names.PROXY_ADMIN_PORT, "protocol": "TCP"}],
        "env": _environment(options, settings, workload, probes),
        "resources": _resources(options),
        "securityContext": {
            **_locked(),
            "runAsUser": names.PROXY_UID,
            "runAsGroup": names.PROXY_UID,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": TOKEN_VOLUME, "mountPath": names.TOKEN_DIR, "readOnly": True},
            {"name": STATE_VOLUME, "mountPath": names.STATE_DIR},
        ],
        "readinessProbe": {"httpGet": dict(READY), "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    # All plain containers are told to end at once; such a sidecar waits so that the app can finish through it.
    waits = 0 if settings.native_sidecar else options.drain_seconds
    end = {"preStop": {"exec": {"command": ["python3", "-S", "-c", _TELL_THE_END, str(waits)]}}}
    if settings.native_sidecar:
        container["lifecycle"] = end
        container["restartPolicy"] = "Always"
        container["startupProbe"] = {
            "httpGet": dict(READY),
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": _STARTUP_TRIES,
        }
    else:
        container["lifecycle"] = {"postStart": {"exec": {"command": ["python3", "-c", _WAIT_UNTIL_READY]}}, **end}
    return container


def volumes(settings: InjectSettings) -> list[Object]:
    """Build the sidecar's token (for its first certificate) and its memory (for the roots it learned)."""
    token = {"path": "token", "audience": names.TOKEN_AUDIENCE, "expirationSeconds": settings.token_seconds}
    return [
        {"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": STATE_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
    ]


def _environment(options: PodOptions, settings: InjectSettings, workload: str, probes: Table) -> list[Object]:
    fixed = {
        names.ENV_XDS_ADDRESS: settings.xds_address,
        names.ENV_TRUST_DOMAIN: settings.trust_domain,
        names.ENV_CA_ROOTS: settings.ca_roots,
        names.ENV_WORKLOAD: workload,
        names.ENV_APP_PROBES: json.dumps(probes, sort_keys=True, separators=(",", ":")) if probes else "",
        names.ENV_LOG_LEVEL: options.log_level,
        names.ENV_CONCURRENCY: str(options.concurrency),
        names.ENV_DRAIN_SECONDS: str(options.end_seconds),
        names.ENV_IDLE_SECONDS: str(options.idle_seconds),
    }
    fields = {
        names.ENV_POD: "metadata.name",
        names.ENV_NAMESPACE: "metadata.namespace",
        names.ENV_POD_IP: "status.podIP",
        names.ENV_POD_IPS: "status.podIPs",
        names.ENV_SERVICE_ACCOUNT: "spec.serviceAccountName",
    }
    return [
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
        *({"name": name, "value": value} for name, value in fixed.items() if value),
    ]


def _resources(options: PodOptions) -> Object:
    requests = {"cpu": options.cpu_request, "memory": options.memory_request}
    limits = {"cpu": options.cpu_limit, "memory": options.memory_limit}
    both = {"requests": requests, "limits": limits}
    kept = {kind: {name: value for name, value in each.items() if value} for kind, each in both.items()}
    return {kind: each for kind, each in kept.items() if each}


def _locked() -> Object:
    """What both containers give up; made anew each time, so that no two of them share a dict."""
    return {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _joined(items: tuple[object, ...]) -> str:
    return ",".join(str(item) for item in items)
