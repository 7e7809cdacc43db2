"""Who is believed over TLS, and with which certificates."""

from __future__ import annotations

import pytest

from dataplane.config import Secret, StringMatch, TlsContext, TlsTrust
from dataplane.net.tls import TlsContexts, TlsUnavailableError, matches
from meshapi import records
from tests.dataplane.net.secured import CLIENT, URI, both, dial
from tests.support.certs import Authority
from tests.support.net import Echo, net


async def test_mutual_tls_names_both_peers_and_the_protocol(authority: Authority) -> None:
    """After the handshake each side knows the other's URI and the agreed ALPN."""
    server, client = both(authority)
    async with net() as n:
        heard = dial(n, n.serve(Echo, tls=server), client)
        await heard.hear("opened")
        other = await n.first()
        await other.hear("opened")

        assert heard.stream
        assert other.stream
        assert (heard.stream.identity, heard.stream.alpn) == (URI, "tulle-tcp")
        assert (other.stream.identity, other.stream.alpn) == (CLIENT, "tulle-tcp")
        heard.stream.close()
        await heard.hear("lost closed")


@pytest.mark.parametrize(
    ("identity", "problem"),
    [(URI, ""), ("spiffe://test/ns/a/sa/other", "lost identity_mismatch")],
    ids=["expected", "another"],
)
async def test_client_insists_on_the_identity_it_was_given(authority: Authority, identity: str, problem: str) -> None:
    """A good certificate of somebody else is refused before a byte is sent."""
    server, client = both(authority, identity=identity)
    async with net() as n:
        heard = dial(n, n.serve(Echo, tls=server), client)
        assert heard.stream
        heard.stream.write(b"secret")
        if not problem:
            assert await heard.get(6) == b"secret"
            heard.stream.close()
            return
        await heard.hear(problem)
        other = await n.first()
        await n.settle(lambda: other.gone)

        assert not other.data
        assert "expected spiffe://test/ns/a/sa/other" in heard.stream.detail


def stranger_contexts(authority: Authority) -> dict[str, TlsContext]:
    foreign = Authority("foreign")
    good = authority.context(CLIENT)
    key_only = records.replace(good, certificate=b"", key=b"")
    return {
        "foreign root": foreign.context(CLIENT, trusting=authority),
        "expired": authority.context(CLIENT, days=-1),
        "no certificate": key_only,
        "foreign trust domain": authority.context("spiffe://elsewhere/ns/a/sa/b"),
        "two identities": records.replace(
            good, **dict(zip(("certificate", "key"), authority.issue(CLIENT, URI), strict=True))
        ),
    }


@pytest.mark.parametrize("who", ["foreign root", "expired", "no certificate", "foreign trust domain", "two identities"])
async def test_server_refuses_strangers(authority: Authority, who: str) -> None:
    """Mesh TLS wants a certificate of its own roots, in date, with exactly one URI of the trust domain."""
    contexts = TlsContexts()
    server = contexts.server(authority.context(URI))
    client = contexts.client(stranger_contexts(authority)[who])
    async with net() as n:
        heard = dial(n, n.serve(Echo, tls=server), client)
        assert heard.stream
        heard.stream.write(b"let me in")
        other = await n.first()
        await n.settle(lambda: other.gone and heard.gone)

        assert other.calls in (["lost tls_failed"], ["lost identity_mismatch"])
        assert not other.data
        assert not heard.data


async def test_client_refuses_a_server_of_a_foreign_root(authority: Authority) -> None:
    """The reason says that the certificate could not be verified."""
    contexts = TlsContexts()
    server = contexts.server(Authority("foreign").context(URI))
    client = contexts.client(authority.context(CLIENT))
    async with net() as n:
        heard = dial(n, n.serve(tls=server), client)
        await heard.hear("lost tls_failed")

        assert heard.stream
        assert "CERTIFICATE_VERIFY_FAILED" in heard.stream.detail


async def test_host_name_is_checked_for_a_server_known_by_name(authority: Authority) -> None:
    """What the control plane's connection uses: a DNS SAN instead of a URI."""
    certificate, key = authority.issue(dns=("*.tulle-system.svc",))
    contexts = TlsContexts()
    server = contexts.server(TlsContext(certificate=certificate, key=key, alpn=("h2",)))
    async with net() as n:
        port = n.serve(Echo, tls=server)
        for name, outcome in (("tulle.tulle-system.svc", "opened"), ("tulle.elsewhere.svc", "lost tls_failed")):
            trust = TlsTrust(roots=authority.roots, dns=(StringMatch(exact=name),))
            heard = dial(n, port, contexts.client(TlsContext(trust=trust, sni=name), ("h2",)))
            await heard.hear(outcome)
            assert heard.stream
            heard.stream.close()
            await n.settle(lambda heard=heard: heard.gone)


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        (StringMatch(exact="a"), "a", "b"),
        (StringMatch(prefix="spiffe://x/"), "spiffe://x/y", "spiffe://xy/"),
        (StringMatch(suffix=".svc"), "a.svc", "a.svc.x"),
        (StringMatch(contains="b"), "abc", "ac"),
        (StringMatch(regex="a+"), "aa", "ab"),
        (StringMatch(exact="A", ignore_case=True), "a", "b"),
        (StringMatch(exact="a", invert=True), "b", "a"),
    ],
    ids=["exact", "prefix", "suffix", "contains", "regex", "ignore case", "invert"],
)
def test_name_matches(match: StringMatch, yes: str, no: str) -> None:
    """Every form of match, both verdicts."""
    assert matches(match, yes)
    assert not matches(match, no)


class Rotating:
    """Credentials that change."""

    def __init__(self, authority: Authority) -> None:
        self.generation = 0
        self.roots_pem = authority.roots
        self.certificate_pem, self.key_pem = b"", b""

    def renew(self, authority: Authority, uri: str) -> None:
        self.generation += 1
        self.certificate_pem, self.key_pem = authority.issue(uri)


MESH = TlsContext(
    identity_secret="identity",
    trust=TlsTrust(trust_secret="trust", uris=(StringMatch(prefix="spiffe://test/"),)),
    alpn=("tulle-tcp",),
    require_client_certificate=True,
)


async def test_new_certificate_serves_new_connections_and_leaves_old_ones_alone(authority: Authority) -> None:
    """Renewal drops nothing."""
    credentials = Rotating(authority)
    contexts = TlsContexts(credentials)
    credentials.renew(authority, URI)
    async with net() as n:
        port = n.serve(Echo, tls=contexts.server(MESH))
        old = dial(n, port, contexts.client(MESH))
        await old.hear("opened")
        credentials.renew(authority, "spiffe://test/ns/a/sa/renewed")
        port = n.serve(Echo, tls=contexts.server(MESH))
        new = dial(n, port, contexts.client(MESH))
        await new.hear("opened")

        assert old.stream
        assert new.stream
        assert (old.stream.identity, new.stream.identity) == (URI, "spiffe://test/ns/a/sa/renewed")
        old.stream.write(b"still")
        assert await old.get(5) == b"still"
        old.stream.close()
        new.stream.close()


def test_context_is_made_once_for_the_same_certificates(authority: Authority) -> None:
    """Clusters that differ in SNI and names share one context."""
    credentials = Rotating(authority)
    credentials.renew(authority, URI)
    contexts = TlsContexts(credentials)
    other = records.replace(MESH, sni="80.web.shop")

    assert contexts.client(MESH).context is contexts.client(other).context
    assert contexts.client(MESH, ("tulle-h2",)).context is not contexts.client(MESH).context


def test_missing_certificate_or_roots_are_said(authority: Authority) -> None:
    """Before the first certificate TLS is unavailable, in a sentence."""
    contexts = TlsContexts()

    with pytest.raises(TlsUnavailableError, match="no certificate 'identity' yet"):
        contexts.server(MESH)
    certificate, key = authority.issue(URI)
    contexts.secrets = {"identity": Secret(name="identity", certificate=certificate, key=key)}
    with pytest.raises(TlsUnavailableError, match="no roots"):
        contexts.client(MESH)


@pytest.mark.parametrize("roots", [b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff", b"none"])
def test_roots_that_are_none_are_said(authority: Authority, roots: bytes) -> None:
    """As those that are missing are: whoever asks for TLS has one failure to know of."""
    certificate, key = authority.issue(URI)
    contexts = TlsContexts(
        secrets={
            "identity": Secret(name="identity", certificate=certificate, key=key),
            "trust": Secret(name="trust", roots=roots),
        }
    )

    with pytest.raises(TlsUnavailableError, match="cannot be used"):
        contexts.client(MESH)
