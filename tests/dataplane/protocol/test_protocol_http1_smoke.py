"""The shortest conversation."""

from dataplane.protocol.events import Data, RequestHead, ResponseHead
from dataplane.protocol.http1_client import Http1Client
from dataplane.protocol.http1_server import Http1Server
from dataplane.protocol.limits import Limits
from tests.support.playbook import Playbook, call


def test_http1_carries_a_request_and_its_response_between_both_codecs():
    """A POST and its answer pass through client and server codec, and both are idle after it."""
    client, server = Playbook(Http1Client(Limits())), Playbook(Http1Server(Limits()))
    head = RequestHead(0, b"POST", b"http", b"a:80", b"/x", [(b"x-a", b"1", b"X-A")], False)
    client >> call("send_request", head, False)
    client << b"POST /x HTTP/1.1\r\nHost: a:80\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    client >> call("send_data", 1, b"hello", True)
    client << b"5\r\nhello\r\n0\r\n\r\n"
    server >> b"POST /x HTTP/1.1\r\nHost: a:80\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    server << RequestHead(1, b"POST", b"http", b"a:80", b"/x", [(b"x-a", b"1", b"X-A")], False)
    server << Data(1, b"hello", True)
    server >> call("send_response", 1, 200, b"", [(b"content-length", b"2", b"Content-Length")], False)
    server << b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    server >> call("send_data", 1, b"ok", True)
    server << b"ok"
    client >> b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    client << ResponseHead(1, 200, b"OK", [(b"content-length", b"2", b"Content-Length")], False)
    client << Data(1, b"ok", True)
    client.done()
    server.done()
    assert (client.codec.can_open, server.codec.active) == (True, 0)
