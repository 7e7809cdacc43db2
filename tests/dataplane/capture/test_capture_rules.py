"""What is captured and what is not, as text."""

from __future__ import annotations

import pytest

from dataplane.capture import iptables, rules
from dataplane.capture.__main__ import main
from dataplane.capture.settings import BadCaptureError, CaptureSettings, read


def test_rules_of_a_pod_without_exclusions() -> None:
    """The whole transaction, as it is given to nft."""
    assert rules.transaction(read([])) == (
        "add table inet tulle\n"
        "delete table inet tulle\n"
        "table inet tulle {\n"
        "\tchain inbound {\n"
        "\t\ttype nat hook prerouting priority -100; policy accept;\n"
        "\t\ttcp dport { 15020 } return\n"
        "\t\tmeta l4proto tcp redirect to :15006\n"
        "\t}\n"
        "\tchain outbound {\n"
        "\t\ttype nat hook output priority -100; policy accept;\n"
        '\t\tmeta skuid 1337 oifname "lo" ip dscp 42 meta l4proto tcp redirect to :15006\n'
        '\t\tmeta skuid 1337 oifname "lo" ip6 dscp 42 meta l4proto tcp redirect to :15006\n'
        "\t\tmeta skuid 1337 return\n"
        '\t\toifname "lo" return\n'
        "\t\tmeta l4proto tcp redirect to :15001\n"
        "\t}\n"
        "}\n"
    )


def test_exclusions_come_before_the_redirect() -> None:
    """Ports sorted, networks of each version apart and without overlap, the admin port always."""
    settings = read(
        [
            "--exclude-inbound-ports=22, 9100",
            "--exclude-outbound-ports=3306,53",
            "--exclude-outbound-cidrs=10.1.0.0/16,10.0.0.0/8,fd00::1/8",
        ]
    )
    text = rules.table(settings)

    assert "tcp dport { 22, 9100, 15020 } return" in text
    assert "tcp dport { 53, 3306 } return" in text
    assert "ip daddr { 10.0.0.0/8 } return" in text
    assert "ip6 daddr { fd00::/8 } return" in text
    assert text.index("fd00::/8") < text.index("redirect to :15001")


def test_iptables_says_the_same() -> None:
    """The fallback has a line for a line, and hooks in only where it is not hooked in."""
    settings = CaptureSettings(exclude_outbound_cidrs=("10.0.0.0/8", "fd00::/8"))

    text = iptables.restore(settings, 4)
    assert text.splitlines() == [
        "*nat",
        ":TULLE_INBOUND - [0:0]",
        ":TULLE_OUTBOUND - [0:0]",
        "-A TULLE_INBOUND -p tcp --dport 15020 -j RETURN",
        "-A TULLE_INBOUND -p tcp -j REDIRECT --to-ports 15006",
        "-A TULLE_OUTBOUND -o lo -p tcp -m dscp --dscp 42 -m owner --uid-owner 1337 -j REDIRECT --to-ports 15006",
        "-A TULLE_OUTBOUND -m owner --uid-owner 1337 -j RETURN",
        "-A TULLE_OUTBOUND -o lo -j RETURN",
        "-A TULLE_OUTBOUND -d 10.0.0.0/8 -j RETURN",
        "-A TULLE_OUTBOUND -p tcp -j REDIRECT --to-ports 15001",
        "-A PREROUTING -p tcp -j TULLE_INBOUND",
        "-A OUTPUT -p tcp -j TULLE_OUTBOUND",
        "COMMIT",
    ]
    assert "-A PREROUTING" not in iptables.restore(settings, 4, hooked=["PREROUTING"])
    assert "-d fd00::/8" in iptables.restore(settings, 6)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("--exclude-inbound-ports=http", "--exclude-inbound-ports has 'http'; right are port numbers from 1 to 65535"),
        ("--exclude-outbound-ports=70000", "--exclude-outbound-ports has '70000'; right are port numbers"),
        ("--exclude-outbound-cidrs=10.0.0.0/40", "--exclude-outbound-cidrs has '10.0.0.0/40'; right are networks like"),
    ],
)
def test_bad_argument_is_refused_in_a_sentence(argument: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the argument, what it had and what is right."""
    with pytest.raises(BadCaptureError, match=says.split(";", maxsplit=1)[0].replace("(", r"\(")):
        read([argument])
    assert main([argument]) == 2
    assert says in capsys.readouterr().err


def test_dry_run_prints_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """For a look at what would be done."""
    assert main(["--dry-run"]) == 0
    assert capsys.readouterr().out == rules.transaction(CaptureSettings())
