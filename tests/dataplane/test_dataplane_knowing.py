"""What a sidecar knows, and for how long: over pushes, restarts of the control plane, and idle times."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dataplane.discovery import IDLE_SECONDS
from dataplane.finding import ASKED, KNOWN, Found
from meshapi import xds
from meshapi.xds import Type
from tests.support.knowing import INBOUND, ControlPlane, Known, listener

API = "outbound/10.96.0.2:80"
DB = "outbound/10.96.0.3:5432"


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Known]:
    made = Known(tmp_path)
    made.cluster.service(API, "10.0.0.2")
    made.cluster.service(DB, "10.0.0.3")
    yield made
    made.close()


async def test_warm_destination_in_use_outlives_the_control_plane_that_named_it(pod: Known) -> None:
    """The next control plane remembers nothing of warm destinations; the sidecar still uses them."""
    pod.control_plane(API)
    pod.source.discovery.touch(API)
    assert pod.in_force() == {API}
    pod.away()
    control = pod.control_plane()

    assert pod.in_force() == {API}
    assert API in control.names()
    control.push(*pod.cluster.service(API, "10.0.0.9"))
    control.turn()
    assert pod.addresses(API) == ["10.0.0.9"]


async def test_warm_destination_nobody_uses_ends_by_the_idle_rule(pod: Known) -> None:
    """A hint at start and nothing else."""
    control = pod.control_plane(API)
    pod.idle()
    control.turn()

    assert pod.in_force() == set()
    assert control.names() & {API, DB} == set()


async def test_letting_a_destination_go_takes_its_table_away(pod: Known) -> None:
    """What is unsubscribed gets no news, so nothing may go by it: its next use asks again."""
    control = pod.control_plane()
    pod.want(API)
    control.turn()
    pod.idle()
    control.turn()
    assert pod.in_force() == set()
    assert control.names(Type.ENDPOINTS) == set()
    pod.cluster.service(API, "10.0.0.9")
    pod.want(API)
    control.turn()

    assert pod.addresses(API) == ["10.0.0.9"]


async def test_control_plane_that_has_nothing_new_to_say_is_still_asked(pod: Known) -> None:
    """A resumed stream is a connection: a new destination waits for its answer instead of passing in plaintext."""
    pod.control_plane()
    pod.away()
    control = pod.control_plane()
    assert pod.source.control.connected
    pod.want(API)
    assert pod.told == []
    control.turn()

    assert pod.told == [KNOWN]


async def test_destination_is_asked_for_while_the_control_plane_is_yet_to_answer(pod: Known) -> None:
    """Between a stream's first request and its first answer the control plane can be asked; it is not away."""
    pod.control_plane()
    pod.away()
    pod.source.control.begin(lambda _: None)
    pod.want(API)
    assert pod.told == []
    pod.away()

    assert pod.told == [ASKED]


async def test_sidecar_is_ready_when_its_warm_destinations_are_known(pod: Known) -> None:
    """One that does not exist is no reason to wait, and one that does not come is a reason for some seconds only."""
    pod.source.credentials.certificate_pem = b"any"
    gone = "outbound/10.9.9.9:1"
    control = ControlPlane(pod.cluster, pod.source, API, gone).begin()
    control.hold(Type.ENDPOINTS)
    control.turn()
    assert pod.sidecar.ready() == "no configuration yet"
    assert gone in control.names()
    control.release()

    assert pod.sidecar.ready() == ""


async def test_nothing_is_let_go_while_the_control_plane_is_away(pod: Known) -> None:
    """It could not be asked for again; and time that passed meanwhile does not count once it is back."""
    control = pod.control_plane()
    pod.want(API)
    control.turn()
    for _ in range(2):
        pod.away()
        for _ in range(3):
            pod.idle()
        control = pod.control_plane()
        pod.idle(1)
    assert pod.in_force() == {API}
    pod.idle(IDLE_SECONDS)

    assert pod.in_force() == set()


async def test_form_that_was_never_good_is_refused_and_no_absence(pod: Known) -> None:
    """Its connections are told the sentence; a good form ends that, a removal makes it absent."""
    control = pod.control_plane()
    bad = listener(API, "x")
    bad["filter_chains"][0]["filters"] = [{"name": "unheard of"}]
    pod.cluster.put(Type.LISTENER, bad)
    pod.want(API)
    control.turn()
    (found,) = pod.told
    assert found.found is Found.REFUSED
    assert API in found.sentence
    control.push(*pod.cluster.service(API, "10.0.0.2"))
    control.turn()
    pod.want(API)
    control.push(*pod.cluster.remove(API))
    control.turn()
    pod.want(API)

    assert [one.found for one in pod.told] == [Found.REFUSED, Found.KNOWN, Found.ABSENT]


async def test_another_hint_changes_nothing_in_force(pod: Known) -> None:
    """Each control plane hints at what it knows of; the inbound listener is the same one."""
    pod.control_plane(API)
    before = pod.source.session.config
    pod.away()
    pod.control_plane(DB)

    assert pod.source.session.config is before


async def test_what_was_let_go_while_away_is_not_remembered(pod: Known) -> None:
    """The bound holds for memory, too; when it is used again it is asked for anew."""
    control = pod.control_plane()
    pod.want(API)
    control.turn()
    pod.away()
    pod.source.session.drop({API})
    pod.source.session.want(API)
    control = ControlPlane(pod.cluster, pod.source).begin()

    assert control.offered() == {(Type.LISTENER, INBOUND), (Type.CLUSTER, "own")}


async def test_calls_made_before_the_first_connection_wait_for_it(pod: Known) -> None:
    """A sidecar that was killed and started anew has a running app: in plaintext its calls would be reset by STRICT."""
    pod.want(API)
    assert pod.told == []
    pod.control_plane()

    assert pod.told == [KNOWN]


async def test_calls_made_before_a_connection_that_fails_pass(pod: Known) -> None:
    """Nobody waits for a control plane that cannot be reached."""
    pod.want(API)
    pod.away()
    pod.want(DB)

    assert pod.told == [ASKED, ASKED]


async def test_each_control_plane_is_told_what_the_sidecar_reads(pod: Known) -> None:
    """One that is newer writes no more than that, so that an upgrade refuses nothing."""
    for _ in range(2):
        control = pod.control_plane()
        assert control.node[xds.NODE_CONTRACT] == str(xds.CONTRACT)
        pod.away()
