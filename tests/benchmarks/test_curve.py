"""The cost over load: asked at a steady rate, measured, told in a table and a plot."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import curve, drawing, report, steady
from benchmarks.curve import MOST, Curve, Point
from tests.support.peers import program

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell"


@contextmanager
def answering(answer: bytes, *, pause: float = 0.0) -> Iterator[int]:
    """A server that takes one connection, and each request of it a while to answer, in two pieces."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while connection.recv(4096):
                time.sleep(pause)  # what an answer takes is what is tested
                connection.sendall(answer[:20])
                connection.sendall(answer[20:])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(10)


def points(*told: tuple[int, float, float]) -> list[Point]:
    return [Point(asked=asked, answered=answered, cpu=cpu) for asked, answered, cpu in told]


def made() -> Curve:
    return {
        "tulle": points((0, 0, 0.2), (100, 100, 1.0), (10_000, 9_990, 40.0), (MOST, 20_000, 100.0)),
        "envoy": points((0, 0, 0.4), (100, 100, 2.0), (10_000, 5_000, 100.0), (MOST, 5_000, 100.0)),
    }


def test_requests_come_at_the_rate_asked_for() -> None:
    """As many as are due in the time, no more for answers that come fast."""
    with answering(ANSWER) as port:
        latencies = steady.ask(port, 1, 100.0, 0.5)

    assert len(latencies) == 50


def test_latencies_count_from_when_a_request_was_due() -> None:
    """What waits for a connection is late already when it is sent: a slow server is not asked less to look fast."""
    with answering(ANSWER, pause=0.05) as port:
        latencies = steady.ask(port, 1, 100.0, 0.3)

    assert latencies[-1] > 100


def test_an_answer_that_is_none_ends_the_asking() -> None:
    """Figures of failed requests mean nothing."""
    with answering(ANSWER.replace(b"200", b"503")) as port, pytest.raises(steady.AnswerError, match="503"):
        steady.ask(port, 1, 100.0, 0.5)


def test_the_table_compares_requests_where_one_is_saturated() -> None:
    """Else a proxy that answers half as much for the same core would look as cheap."""
    rows = drawing.table(made())

    assert rows[2] == "| idle | 0.20 % |  | 0.40 % |  | 0.50 |"
    assert rows[3] == "| 100 | 1.00 % | 100 | 2.00 % | 100 | 0.50 |"
    assert rows[4] == "| 10,000 | 40.00 % | 9,990 | 100.00 % | 5,000 | 0.20 a request |"
    assert rows[5] == "| as many as go | 100.00 % | 20,000 | 100.00 % | 5,000 | 0.25 a request |"


def test_the_plot_has_a_line_for_each_peer_with_all_points_inside() -> None:
    """From idle at the left to saturation at the right, cheaper is lower."""
    drawn = ET.fromstring(drawing.plot(made()))
    width, height = float(drawn.attrib["width"]), float(drawn.attrib["height"])
    lines = [line for line in drawn.iter() if line.tag.endswith("polyline")]
    ours, theirs = ([tuple(map(float, at.split(","))) for at in line.attrib["points"].split()] for line in lines)

    assert len(ours) == len(theirs) == 4
    assert all(0 < x < width and 0 < y < height for x, y in (*ours, *theirs))
    assert ours[0][0] == theirs[0][0]
    assert ours[0][1] > theirs[0][1]


def test_it_is_measured_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a small scale: our pair alone stands for both."""
    program("h2load")
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{report._CURVE}\n{report._CURVE_END}\nafter\n")
    monkeypatch.setattr(report, "DOCUMENT", page)
    monkeypatch.setattr(report, "CURVE_PLOT", tmp_path / "load.svg")
    monkeypatch.setattr(report, "RESULTS", tmp_path)

    found = curve.measure((0, 50, MOST), seconds=0.5, rounds=1, peers=("tulle",))
    report.write_curve({"tulle": found["tulle"], "envoy": found["tulle"]})

    idle, some, most = found["tulle"]
    assert idle.answered == 0
    assert some.answered == pytest.approx(50, abs=2)
    assert idle.cpu < some.cpu < most.cpu
    assert most.answered > 100
    assert "| 50 |" in page.read_text()
    assert page.read_text().endswith("after\n")
    assert (tmp_path / "load.svg").read_text().startswith("<svg")
    assert [point["asked"] for point in json.loads((tmp_path / "cost_over_load.json").read_text())["tulle"]] == [
        0,
        50,
        MOST,
    ]
