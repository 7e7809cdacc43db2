"""The nearer limit: haproxy and nginx doing what they can of the same work, over mutual TLS and HTTP/1.1, without a mesh's rest.

In: a `Plan` and identities. Out: the configuration of one side, and the command that runs it in the foreground with one thread.
They check certificates but know no SPIFFE rule, keep no metrics by peer and route by nothing: what they cost is what system
calls, parsing and crypto cost at the least.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.bootstrap import Plan, Ports
from benchmarks.certificates import Identity

PEERS = ("haproxy", "nginx")


def available() -> list[str]:
    """Name those that are installed."""
    return [name for name in PEERS if shutil.which(name)]


def command(  # noqa: PLR0913, PLR0917 - all of it goes into one file
    peer: str, side: str, plan: Plan, ports: Ports, me: Identity, home: Path
) -> list[str]:
    """Write the configuration of a side and return how to run it."""
    (home / f"{side}.pem").write_text(me.certificate + me.key)
    (home / f"{side}.key").write_text(me.key)
    (home / "root.pem").write_text(me.root)
    write = _haproxy if peer == "haproxy" else _nginx
    path = home / f"{side}.{peer}"
    path.write_text(write(side, plan, ports, home))
    if peer == "haproxy":
        return ["haproxy", "-db", "-f", str(path)]
    return ["nginx", "-p", str(home), "-c", str(path), "-e", str(home / "nginx.log")]


def _hops(side: str, ports: Ports) -> tuple[int, int]:
    return (ports.outbound, ports.inbound) if side == "outbound" else (ports.inbound, ports.app)


def _haproxy(side: str, plan: Plan, ports: Ports, home: Path) -> str:
    here, there = _hops(side, ports)
    tls = (
        f"ssl crt {home / side}.pem ca-file {home}/root.pem verify required ssl-min-ver TLSv1.3" if plan.secure else ""
    )
    accepting, dialling = (tls, "") if side == "inbound" else ("", tls)
    mode = "tcp\n  option splice-auto" if plan.app == "tcp" else "http"
    return (
        "global\n  nbthread 1\n  maxconn 4000\n"
        f"defaults\n  mode {mode}\n  timeout connect 2s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n"
        f"frontend f\n  bind 127.0.0.1:{here} {accepting}\n  default_backend b\n"
        f"backend b\n  server s 127.0.0.1:{there} {dialling}\n"
    )


def _nginx(side: str, plan: Plan, ports: Ports, home: Path) -> str:
    here, there = _hops(side, ports)
    accepting = dialling = ""
    scheme = "http"
    if plan.secure and side == "inbound":
        accepting = (
            f"ssl_certificate {home / side}.pem; ssl_certificate_key {home / side}.key; ssl_protocols TLSv1.3;"
            f" ssl_client_certificate {home}/root.pem; ssl_verify_client on; ssl_session_tickets off;"
        )
    elif plan.secure:
        scheme = "https"
        dialling = (
            f"proxy_ssl_certificate {home / side}.pem; proxy_ssl_certificate_key {home / side}.key;"
            f" proxy_ssl_trusted_certificate {home}/root.pem; proxy_ssl_protocols TLSv1.3;"
        )
    listen = f"127.0.0.1:{here}{' ssl' if accepting else ''}"
    return (
        f"daemon off; master_process off; worker_processes 1; pid {home}/{side}.pid;\n"
        "events { worker_connections 20000; }\n"
        "http { access_log off; keepalive_requests 1000000000;\n"
        f"  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/f;"
        f" uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\n"
        f"  upstream up {{ server 127.0.0.1:{there}; keepalive 512; keepalive_requests 1000000000; }}\n"
        f"  server {{ listen {listen}; {accepting}\n"
        f'    location / {{ proxy_pass {scheme}://up; proxy_http_version 1.1; proxy_set_header Connection ""; {dialling} }} }}\n'
        "}\n"
    )
