"""What a pod's owner may ask for by annotations, and how a mistake is told."""

from __future__ import annotations

import pytest

from controlplane.inject.annotations import quantity, read_options
from controlplane.inject.optin import read_word
from controlplane.inject.refusal import BadAnnotationError
from controlplane.settings import ProxyDefaults
from meshapi import names

OTHER = "registry.example:5000/mesh/tulle@sha256:00"
DEFAULTS = ProxyDefaults(allowed_images=frozenset({OTHER}))


def test_nothing_said_is_the_operators_defaults() -> None:
    """Without annotations the sidecar is as the chart says."""
    options = read_options({}, DEFAULTS)

    assert (options.cpu_request, options.memory_limit) == (DEFAULTS.cpu_request, DEFAULTS.memory_limit)
    assert options.exclude_inbound_ports == ()
    assert options.image == DEFAULTS.image


def test_every_annotation_is_followed() -> None:
    """Each annotation of the contract arrives."""
    options = read_options(
        {
            names.EXCLUDE_INBOUND_PORTS: "9000, 9001,9000",
            names.EXCLUDE_OUTBOUND_PORTS: "5432",
            names.EXCLUDE_OUTBOUND_CIDRS: "10.0.0.0/8,fd00::/8",
            names.OPAQUE_PORTS: "3306",
            names.PROXY_CPU_REQUEST: "200m",
            names.PROXY_CPU_LIMIT: "2",
            names.PROXY_MEMORY_REQUEST: "96Mi",
            names.PROXY_MEMORY_LIMIT: "1Gi",
            names.PROXY_LOG_LEVEL: "debug",
            names.PROXY_CONCURRENCY: "2",
            names.PROXY_IMAGE: OTHER,
            names.DRAIN_SECONDS: "0",
            names.IDLE_SECONDS: "30",
        },
        DEFAULTS,
    )

    assert options.exclude_inbound_ports == (9000, 9001)
    assert options.exclude_outbound_ports == (5432,)
    assert options.exclude_outbound_cidrs == ("10.0.0.0/8", "fd00::/8")
    assert (options.cpu_request, options.cpu_limit) == ("200m", "2")
    assert (options.memory_request, options.memory_limit) == ("96Mi", "1Gi")
    assert (options.log_level, options.concurrency, options.drain_seconds) == ("debug", 2, 0)
    assert (options.image, options.idle_seconds) == (OTHER, 30)
    assert read_options({}, DEFAULTS).idle_seconds == 600


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (names.EXCLUDE_OUTBOUND_PORTS, "80,http"),
        (names.EXCLUDE_OUTBOUND_PORTS, "80,"),
        (names.EXCLUDE_INBOUND_PORTS, "70000"),
        (names.EXCLUDE_INBOUND_PORTS, "0"),
        (names.EXCLUDE_INBOUND_PORTS, "²"),
        (names.EXCLUDE_INBOUND_PORTS, "9" * 5000),
        (names.PROXY_CONCURRENCY, "9" * 5000),
        (names.EXCLUDE_OUTBOUND_CIDRS, "10.0.0.0/99"),
        (names.EXCLUDE_OUTBOUND_CIDRS, "10.0.0.1/8"),
        (names.OPAQUE_PORTS, "x"),
        (names.PROXY_CPU_REQUEST, "lots"),
        (names.PROXY_CPU_LIMIT, "-1"),
        (names.PROXY_MEMORY_REQUEST, "0"),
        (names.PROXY_MEMORY_LIMIT, "12MB"),
        (names.PROXY_LOG_LEVEL, "chatty"),
        (names.PROXY_CONCURRENCY, "65"),
        (names.PROXY_IMAGE, ""),
        (names.PROXY_IMAGE, "two words"),
        (names.PROXY_IMAGE, "registry.example:5000/mesh/tulle"),
        (names.DRAIN_SECONDS, "1.5"),
        (names.IDLE_SECONDS, "1"),
    ],
)
def test_bad_value_is_refused_by_name_value_and_what_is_allowed(name: str, value: str) -> None:
    """The sentence is all kubectl shows, so it has the three things that help."""
    with pytest.raises(BadAnnotationError) as refused:
        read_options({name: value}, DEFAULTS)

    assert name in str(refused.value)
    assert repr(value) in str(refused.value)
    assert "allowed is" in str(refused.value)


def test_image_is_the_operators_or_one_of_the_operators_list() -> None:
    """The image runs as root with NET_ADMIN: a pod's author chooses among what the mesh's operator allows, and no other."""
    assert read_options({names.PROXY_IMAGE: DEFAULTS.image}, DEFAULTS).image == DEFAULTS.image
    with pytest.raises(
        BadAnnotationError, match=rf"proxy-image is 'evil:1'; allowed is one of {DEFAULTS.image}, {OTHER}"
    ):
        read_options({names.PROXY_IMAGE: "evil:1"}, DEFAULTS)


@pytest.mark.parametrize("value", ["yes", "true", "", "Enabled"])
def test_opting_in_knows_two_words(value: str) -> None:
    """A near miss is told, not guessed."""
    with pytest.raises(BadAnnotationError, match=r"tulle.dev/inject.*allowed is enabled or disabled"):
        read_word({names.INJECT: value})


def test_limit_below_the_default_request_takes_the_request_down() -> None:
    """One annotation beside a default is never a contradiction."""
    low = read_options({names.PROXY_MEMORY_LIMIT: "32Mi"}, DEFAULTS)
    high = read_options({names.PROXY_MEMORY_REQUEST: "1Gi"}, DEFAULTS)

    assert (low.memory_request, low.memory_limit) == ("32Mi", "32Mi")
    assert (high.memory_request, high.memory_limit) == ("1Gi", "1Gi")


def test_request_above_its_own_limit_is_refused() -> None:
    """Two annotations that contradict are told before the API server finds out."""
    with pytest.raises(BadAnnotationError, match=r"proxy-cpu-request.*proxy-cpu-limit"):
        read_options({names.PROXY_CPU_REQUEST: "2", names.PROXY_CPU_LIMIT: "1500m"}, DEFAULTS)


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1), ("1500m", 1.5), ("2k", 2000), ("1Ki", 1024), ("1.5Gi", 1.5 * 2**30), ("3M", 3e6)]
)
def test_quantities_are_kubernetes_own(text: str, number: float) -> None:
    """Suffixes mean what they mean in a pod spec."""
    assert float(quantity(text)) == number
