"""Programs people use, as clients and as servers: curl, h2load, nghttpd, nginx, haproxy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.peers import haproxy, nghttpd, nginx, run
from tests.support.ports import free_ports
from tests.support.sidecar import Sidecar

Proxy = tuple[Sidecar, dict[str, int]]
NGINX = """
  listen 127.0.0.1:{port};
  root {root};
  client_max_body_size 10m;
  location /echo {{ return 200 "$request_method $request_uri $http_x_mine $http_host\\n"; }}
  location /sink {{ proxy_pass http://127.0.0.1:{port}/echo; }}
  location /gone {{ return 301 /file; }}
"""
SIZE = 3_000_000


@pytest.fixture(scope="module")
def web(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nginx as the app, over a directory with a file."""
    directory = tmp_path_factory.mktemp("web")
    root = directory / "root"
    root.mkdir()
    (root / "file").write_bytes(b"nginx" * (SIZE // 5))
    port = proxy[1]["app"]
    with nginx(directory, port, NGINX.format(port=port, root=root)):
        yield root


@pytest.fixture
def two(proxy: Proxy, tmp_path: Path) -> Iterator[None]:
    """Nghttpd as the second app, over a file of its own."""
    directory = tmp_path
    (directory / "file").write_bytes(b"nghttp" * (SIZE // 6))
    with nghttpd(directory, proxy[1]["app2"]):
        yield


def curl(*arguments: str) -> str:
    """Ask by curl, without its progress, failing on errors of transport."""
    return run("curl", "-sS", "--max-time", "30", *arguments)


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2-prior-knowledge"])
class TestCurl:
    """Each version curl speaks without TLS, to nginx."""

    def test_curl_asks_and_is_answered(self, proxy: Proxy, web: Path, version: str) -> None:
        """Path, query, header and Host arrive."""
        url = f"http://127.0.0.1:{proxy[1]['one']}/echo?a=%20b"
        answer = curl(version, "-H", "X-Mine: me", "-H", "Host: web.example", url)

        assert answer == "GET /echo?a=%20b me web.example\n"

    def test_curl_downloads(self, proxy: Proxy, web: Path, version: str) -> None:
        """Three megabytes, of the size told and by range."""
        url = f"http://127.0.0.1:{proxy[1]['one']}/file"
        whole = curl(version, "-o", "/dev/null", "-w", "%{http_code} %{size_download}", url)
        part = curl(version, "-r", "5-9", "-w", " %{http_code}", url)

        assert whole == f"200 {SIZE}"
        assert part == "nginx 206"

    def test_curl_uploads(self, proxy: Proxy, web: Path, tmp_path: Path, version: str) -> None:
        """A file sent with `Expect: 100-continue` where the version has it."""
        source = tmp_path / "up"
        source.write_bytes(b"u" * 2_000_000)
        url = f"http://127.0.0.1:{proxy[1]['one']}/sink"
        answer = curl(version, "-T", str(source), "-H", "Expect: 100-continue", url)

        assert answer.startswith("PUT /echo")

    def test_curl_asks_for_heads(self, proxy: Proxy, web: Path, version: str) -> None:
        """HEAD tells the size and has no body."""
        head = curl(version, "-I", f"http://127.0.0.1:{proxy[1]['one']}/file")

        assert f"content-length: {SIZE}" in head.lower()


def test_curl_keeps_its_connection(proxy: Proxy, web: Path) -> None:
    """Three requests, one connection (Debian's curl cannot do that in HTTP/2 without TLS, with any server)."""
    url = f"http://127.0.0.1:{proxy[1]['one']}"
    answer = curl("-w", "%{num_connects} ", f"{url}/echo?1", f"{url}/echo?2", f"{url}/gone", *["-o", "/dev/null"] * 3)

    assert answer == "1 0 0 "


def test_h2load_gets_every_answer(proxy: Proxy, web: Path) -> None:
    """Many streams over several connections, HTTP/2 to nginx on HTTP/1; none fails."""
    words = run("h2load", "-n", "1500", "-c", "5", "-m", "30", f"http://127.0.0.1:{proxy[1]['one']}/echo")

    assert "1500 succeeded, 0 failed, 0 errored" in words


def test_h2load_gets_every_answer_in_http1(proxy: Proxy, web: Path) -> None:
    """The same in HTTP/1.1 with pipelining."""
    words = run("h2load", "--h1", "-n", "1000", "-c", "5", "-m", "4", f"http://127.0.0.1:{proxy[1]['one']}/echo")

    assert "1000 succeeded, 0 failed, 0 errored" in words


def test_curl_reaches_nghttpd(proxy: Proxy, two: None, web: Path) -> None:
    """HTTP/1 in, HTTP/2 out to nghttp2's own server; the other endpoint of the cluster does not speak it."""
    url = f"http://127.0.0.1:{proxy[1]['both']}/file"
    answers = [curl("-o", "/dev/null", "-w", "%{http_code} %{size_download}", url) for _ in range(4)]

    assert answers.count(f"200 {SIZE}") == 2
    assert sum(answer.startswith("50") for answer in answers) == 2


def test_haproxy_goes_through_us(proxy: Proxy, web: Path, tmp_path: Path) -> None:
    """Haproxy in front, keeping its connections, in both versions."""
    front, second = free_ports(2)
    ports = proxy[1]
    config = f"""
frontend one
  bind 127.0.0.1:{front}
  default_backend one
backend one
  http-reuse always
  option httpchk GET /echo
  server us 127.0.0.1:{ports["one"]} check inter 200ms
frontend two
  bind 127.0.0.1:{second}
  default_backend two
backend two
  server us 127.0.0.1:{ports["one"]} proto h2
"""
    with haproxy(tmp_path, config, front):
        words = run("h2load", "--h1", "-n", "300", "-c", "4", f"http://127.0.0.1:{front}/echo?x")
        files = [
            curl("-o", "/dev/null", "-w", "%{size_download}", f"http://127.0.0.1:{port}/file")
            for port in (front, second)
        ]

    assert "300 succeeded, 0 failed, 0 errored" in words
    assert files == [str(SIZE)] * 2


def test_haproxy_is_reached_by_us(proxy: Proxy, tmp_path: Path) -> None:
    """Haproxy as the app, on HTTP/2 without TLS."""
    port = proxy[1]["app2"]
    config = f"""
frontend app
  bind 127.0.0.1:{port} proto h2
  http-request return status 200 content-type text/plain lf-string "%[method] %[path] %[req.hdr(x-mine)]"
"""
    url = f"http://127.0.0.1:{proxy[1]['both']}/deep?x"
    with haproxy(tmp_path, config, port):
        answers = [curl("-H", "X-Mine: me", url) for _ in range(4)]

    assert "GET /deep me" in answers


def test_requests_are_counted_once(proxy: Proxy, web: Path) -> None:
    """What h2load asked is what the metrics say."""
    made, ports = proxy
    before = made.total("tulle_requests_total", 'response_code="200"')
    run("h2load", "--h1", "-n", "200", "-c", "2", f"http://127.0.0.1:{ports['one']}/echo")

    assert made.total("tulle_requests_total", 'response_code="200"') - before == 200


def test_latency_of_h2load_is_told(proxy: Proxy, web: Path) -> None:
    """A sanity bound far above what is normal: no request waits for a timer of ours."""
    words = run("h2load", "-n", "500", "-c", "1", "-m", "1", f"http://127.0.0.1:{proxy[1]['one']}/echo")
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)\b", words)

    assert mean is not None
    assert float(mean[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[mean[2]] < 0.05
