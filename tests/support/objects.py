"""Short makers of the Kubernetes objects tests need."""

from __future__ import annotations

from typing import Any

from tests.support.cluster import PYTHON_IMAGE

Object = dict[str, Any]

SERVER = (
    "import http.server,os,signal,sys\n"
    "class H(http.server.BaseHTTPRequestHandler):\n"
    "    protocol_version='HTTP/1.1'; wbufsize=-1\n"
    "    def do_GET(self):\n"
    "        b=(os.environ.get('SAY') or os.uname().nodename).encode()\n"
    "        self.send_response(200); self.send_header('content-length',str(len(b))); self.end_headers(); self.wfile.write(b)\n"
    "    def log_message(self,f,*a): print(self.path,flush=True)\n"
    "signal.signal(signal.SIGTERM,lambda *_:sys.exit(0))\n"
    "print('serving',flush=True)\n"
    "http.server.ThreadingHTTPServer(('0.0.0.0',8080),H).serve_forever()\n"
)
"""A web server that answers with SAY or its host's name.

Head and body are one write: an end between two would cut off an answer that nobody may ask for again.
"""


def container(name: str = "app", command: list[str] | None = None, **more: Any) -> Object:
    return {"name": name, "image": PYTHON_IMAGE, "command": command or ["python", "-c", SERVER], **more}


def pod(
    name: str, *, labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any
) -> Object:
    spec.setdefault("containers", [container()])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": name}, "annotations": annotations or {}},
        "spec": {"terminationGracePeriodSeconds": 2, **spec},
    }


def deployment(name: str, replicas: int = 1, *, annotations: dict[str, str] | None = None, **spec: Any) -> Object:
    spec.setdefault("containers", [container(ports=[{"name": "http", "containerPort": 8080}], readinessProbe=READY)])
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 2, **spec}},
        },
    }


READY = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}


def service(name: str, port: int = 80, target: int | str = 8080, **more: Any) -> Object:
    named = more.pop("port_name", "http")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": named, "port": port, "targetPort": target}], **more},
    }
