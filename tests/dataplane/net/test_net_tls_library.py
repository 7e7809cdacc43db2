"""What is asked of the TLS library below Python's `ssl`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dataplane.net import tls_library
from dataplane.net.tls import TlsContexts
from tests.support.certs import Authority

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("name", "sent"),
    [("80.web.shop", "80.web.shop"), ("bücher.example", "xn--bcher-kva.example"), (None, None)],
    ids=["ascii", "of letters DNS has not", "none"],
)
def test_server_name_is_sent_as_dns_has_it(name: str | None, sent: str | None) -> None:
    """RFC 6066, section 3: A-labels in ASCII."""
    context = tls_library.Context(tls_library.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    made = tls_library.connection(context, tls_library.MemoryBIO(), tls_library.MemoryBIO(), False, name)

    assert made.server_hostname == sent


@pytest.mark.parametrize("ours", [("h2", "http/1.1"), ("http/1.1",)])
def test_first_protocol_both_know_is_agreed_on(ours: tuple[str, ...]) -> None:
    """RFC 7301, section 3.2: the server chooses, of what it was told."""
    noun = Authority().context()
    contexts = TlsContexts()
    made = contexts.server(noun).context, contexts.client(noun).context
    for context in made:
        tls_library.offer(context, ours)
    there, back = tls_library.MemoryBIO(), tls_library.MemoryBIO()
    server = tls_library.connection(made[0], there, back, True, None)
    client = tls_library.connection(made[1], back, there, False, None)
    for end in (client, server, client, server):
        try:
            end.do_handshake()
        except tls_library.SSLWantReadError:
            continue

    assert (client.selected_alpn_protocol(), server.selected_alpn_protocol()) == (ours[0], ours[0])


def test_name_of_letters_asks_for_no_tables() -> None:
    """A name in ASCII needs no look-up of its characters, which would load a megabyte of them."""
    code = (
        "import sys; from dataplane.net import tls_library as tls; one = tls.Context(tls.PROTOCOL_TLS_CLIENT); "
        "one.check_hostname = False; tls.connection(one, tls.MemoryBIO(), tls.MemoryBIO(), False, 'a.b'); "
        "print(*({'ssl', 'encodings.idna', 'unicodedata'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)

    assert done.stdout.split() == []
