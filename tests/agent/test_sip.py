"""Are SIP's messages, credentials, timers and routes as RFC 3261 has them?"""

from __future__ import annotations

import math

import pytest

from balise_agent.net.sip import dialog, digest, message, sdp, uri
from balise_agent.net.sip.message import Request, Response
from balise_agent.net.sip.transaction import ClientTransaction

# RFC 3261 § 24.2, the INVITE and the 200 of the example
INVITE = (
    b"INVITE sip:bob@biloxi.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds\r\n"
    b"Max-Forwards: 70\r\n"
    b"To: Bob <sip:bob@biloxi.com>\r\n"
    b"From: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:alice@pc33.atlanta.com>\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: 4\r\n\r\nv=0\n"
)
OK = (
    b"SIP/2.0 200 OK\r\n"
    b"Via: SIP/2.0/UDP server10.biloxi.com;branch=z9hG4bKnashds8;received=192.0.2.3,\r\n"
    b" SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds;received=192.0.2.1\r\n"
    b"Record-Route: <sip:p2.example;lr>\r\n"
    b"Record-Route: <sip:p1.example:5070;lr;r2=on>, <sip:p0.example;lr>\r\n"
    b"t: Bob <sip:bob@biloxi.com>;tag=a6c85cf\r\n"
    b"f: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n"
    b"i: a84b4c76e66710@pc33.atlanta.com\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b'm: "B, \\" b" <sip:bob@192.0.2.4:5066;transport=udp>;q=1\r\n'
    b"l: 0\r\n\r\n"
)


def request(data: bytes) -> Request:
    read = message.parse(data)
    assert isinstance(read, Request)
    return read


def response(data: bytes) -> Response:
    read = message.parse(data)
    assert isinstance(read, Response)
    return read


def test_a_message_reads_whole_compact_folded_and_in_lists() -> None:
    asked, told = request(INVITE), response(OK)
    assert (asked.method, asked.uri, asked.body) == ("INVITE", "sip:bob@biloxi.com", b"v=0\n")
    assert (told.code, told.phrase, told.final) == (200, "OK", True)
    assert message.value(told.headers, "call-id") == "a84b4c76e66710@pc33.atlanta.com"
    assert [via.split(";")[0] for via in message.values(told.headers, "via")] == [
        "SIP/2.0/UDP server10.biloxi.com",
        "SIP/2.0/UDP pc33.atlanta.com",
    ]
    assert (message.branch(told.headers), message.cseq(told.headers)) == ("z9hG4bKnashds8", (314159, "INVITE"))


def test_what_is_written_reads_as_it_was() -> None:
    asked = request(INVITE)
    again = request(message.encode(asked))
    assert (again.method, again.uri, again.body) == (asked.method, asked.uri, asked.body)
    without = [pair for pair in asked.headers if pair[0] != "content-length"]
    assert [pair for pair in again.headers if pair[0] != "content-length"][: len(without)] == without


@pytest.mark.parametrize("cut", range(0, len(INVITE), 7))
def test_a_stream_is_cut_where_its_messages_end_however_it_comes(cut: int) -> None:
    stream = b"\r\n\r\n" + INVITE + OK
    buffer, found = bytearray(), []
    for part in (stream[:cut], stream[cut:]):
        buffer += part
        while True:
            data, done = message.frame(buffer)
            del buffer[:done]
            if data is None:
                break
            found.append(data)
    assert found == [INVITE, OK]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        INVITE.replace(b"Content-Length: 4", b"Content-Length: 5"),  # not whole
        INVITE.replace(b"Max-Forwards: 70", b"no colon"),
        b"SIP/2.0 700 X\r\n\r\n",
        b"INVITE sip:b SIP/3.0\r\n\r\n",
        INVITE.replace(b"Max-Forwards: 70", b"X: " + b"x" * 5_000),
        INVITE.replace(b"Max-Forwards: 70", b"\r\n".join(b"X: 1" for _ in range(200))),
    ],
)
def test_what_is_no_message_is_none(data: bytes) -> None:
    assert message.parse(data) is None


def test_a_stream_without_lengths_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="length"):
        message.frame(INVITE.replace(b"Content-Length: 4\r\n", b""))
    with pytest.raises(ValueError, match="64 kB"):
        message.frame(INVITE.replace(b"Content-Length: 4", b"Content-Length: 999999"))
    with pytest.raises(ValueError, match="end"):
        message.frame(b"x" * 70_000)


def test_a_peers_value_adds_no_line_to_a_message_of_ours() -> None:
    told = Response(code=200, phrase="OK", headers=(("X", "a\r\nEvil: 1"),))
    assert b"\r\nEvil" not in message.encode(told)


@pytest.mark.parametrize(
    ("text", "host", "port", "user"),
    [
        ("sip:bob@biloxi.com", "biloxi.com", 0, "bob"),
        ("sip:+33123:pw@192.0.2.1:5070;lr", "192.0.2.1", 5070, "+33123"),
        ("sip:[2001:db8::1]:5062;transport=tcp", "2001:db8::1", 5062, ""),
        ("SIP:echo@h?x=1", "h", 0, "echo"),
    ],
)
def test_a_uri_says_where_it_leads(text: str, host: str, port: int, user: str) -> None:
    read = uri.parse_uri(text)
    assert read is not None
    assert (read.host, read.port, read.user) == (host, port, user)


@pytest.mark.parametrize("text", ["", "tel:+33", "sips:a@b", "sip:", "sip:a@b:99999", "sip:a@b c", "sip:@"])
def test_what_is_no_uri_is_none(text: str) -> None:
    assert uri.parse_uri(text) is None


def test_a_bare_uris_parameters_are_the_headers() -> None:
    bare, named = uri.parse_place("sip:a@b;tag=1"), uri.parse_place('"A <x>" <sip:a@b;lr>;tag=2')
    assert bare is not None
    assert named is not None
    assert (bare.text, bare.param("tag"), bare.uri.param("lr")) == ("sip:a@b", "1", None)
    assert (named.text, named.param("tag"), named.uri.param("lr")) == ("sip:a@b;lr", "2", "")


def test_requests_of_a_call_go_by_the_proxies_that_recorded_their_route_the_last_first() -> None:
    made = dialog.from_answer(request(INVITE), response(OK))
    assert made is not None
    assert made.routes == ("sip:p0.example;lr", "sip:p1.example:5070;lr;r2=on", "sip:p2.example;lr")
    routed = dialog.route(made)
    assert routed is not None
    assert (routed.uri, routed.next_hop.host) == ("sip:bob@192.0.2.4:5066;transport=udp", "p0.example")
    bye = dialog.request(made, routed, "BYE", 314160, "SIP/2.0/UDP h;branch=z9hG4bKx")
    assert message.values(bye.headers, "route") == [f"<{text}>" for text in made.routes]
    assert message.value(bye.headers, "to") == "Bob <sip:bob@biloxi.com>;tag=a6c85cf"
    assert message.cseq(bye.headers) == (314160, "BYE")


def test_a_strict_router_gets_its_own_address_and_the_peers_last() -> None:
    strict = OK.replace(b"sip:p0.example;lr", b"sip:p0.example")
    made = dialog.from_answer(request(INVITE), response(strict))
    assert made is not None
    routed = dialog.route(made)
    assert routed is not None
    assert routed.uri == "sip:p0.example"
    assert routed.routes[-1] == "sip:bob@192.0.2.4:5066;transport=udp"


@pytest.mark.parametrize("header", [b"m: ", b"t: ", b"CSeq: "])
def test_an_answer_without_what_a_call_needs_makes_none(header: bytes) -> None:
    lines = [line for line in OK.split(b"\r\n") if not line.startswith(header)]
    told = message.parse(b"\r\n".join(lines))
    made = dialog.from_answer(request(INVITE), told) if isinstance(told, Response) else None
    assert (made is None) is (header != b"CSeq: ")  # its own number is the INVITE's


def test_ack_and_cancel_belong_to_the_invites_own_transaction() -> None:
    asked = request(INVITE)
    busy = Response(code=486, phrase="Busy", headers=(("to", "Bob <sip:bob@biloxi.com>;tag=z"),))
    ack, cancel = dialog.refused_ack(asked, busy), dialog.cancel(asked)
    for made, method, to in ((ack, "ACK", ";tag=z"), (cancel, "CANCEL", "")):
        assert message.branch(made.headers) == "z9hG4bK776asdhds"
        assert message.cseq(made.headers) == (314159, method)
        assert message.value(made.headers, "to") == "Bob <sip:bob@biloxi.com>" + to


def test_the_digest_of_rfc_7616_in_both_hashes() -> None:
    nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
    login = digest.Login(user="Mufasa", password="Circle of Life")
    cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    expected = {
        "MD5": "8ca523f5e9506fed4657c9700eebdbec",
        "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    }
    for algorithm, response_ in expected.items():
        head = f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
        challenge = digest.parse(head + f'nonce="{nonce}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"')
        assert challenge is not None
        told = digest.answer(challenge, login, "GET", "/dir/index.html", cnonce)
        assert f'response="{response_}"' in told
        assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in told


def test_the_digest_without_qop_is_rfc_2617s() -> None:
    challenge = digest.parse('Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"')
    assert challenge is not None
    login = digest.Login(user="Mufasa", password="Circle Of Life")
    told = digest.answer(challenge, login, "GET", "/dir/index.html", "")
    assert 'response="670fd8c2df070c60b045671b8b24ff02"' in told
    assert "qop" not in told


def test_the_strongest_challenge_that_is_known_is_answered() -> None:
    head = 'Digest realm="r", nonce="n", algorithm='
    offered = [digest.parse(head + name) for name in ("MD5", "SHA-512-256", "SHA-256")]
    chosen = digest.strongest(offered)
    assert chosen is not None
    assert chosen.algorithm == "SHA-256"
    assert digest.strongest([digest.parse(head + "SHA-512-256"), None]) is None
    assert digest.parse("Basic realm=x") is None
    assert digest.parse('Digest realm="r"') is None
    assert digest.parse('Digest realm="r", nonce="n", qop="auth-int"') is None


def sendings(invite: bool, reliable: bool = False, provisional_s: float | None = None) -> list[float]:
    """When a request is sent, until it is given up; infinity ends the list then."""
    transaction = ClientTransaction(0.0, invite=invite, reliable=reliable)
    found: list[float] = []
    while math.isfinite(next_s := transaction.next_s):
        if provisional_s is not None and next_s > provisional_s:
            transaction.answered(180, provisional_s)
            provisional_s = None
            continue
        due = transaction.due(next_s)
        found += [next_s] if due == "send" else [-next_s] if due == "timeout" else []
    return found


def test_a_request_is_sent_again_at_the_times_of_rfc_3261() -> None:
    assert sendings(invite=True) == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, -32.0]
    assert sendings(invite=False) == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5, -32.0]
    assert sendings(invite=True, reliable=True) == [0, -32.0]
    assert sendings(invite=True, provisional_s=0.7) == [0, 0.5, -32.7]


def test_a_final_answer_ends_it_and_comes_once() -> None:
    transaction = ClientTransaction(0.0, invite=True, reliable=False)
    assert transaction.due(0.0) == "send"
    assert not transaction.answered(100, 0.1)
    assert transaction.answered(200, 0.2)
    assert not transaction.answered(200, 0.3)
    assert (transaction.due(40.0), transaction.transmissions) == (None, 1)


def test_a_description_reads_as_it_was_written() -> None:
    media = sdp.Media(host="192.0.2.1", port=4_000, codecs=(8, 0), rtcp_port=4_001, rtcp_mux=True, ssrc=7)
    assert sdp.decode(sdp.encode(media, 1)) == media
    six = sdp.Media(host="2001:db8::1", port=4_000, codecs=(0,), direction="recvonly")
    assert sdp.decode(sdp.encode(six, 1)) == six


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("c=IN IP4 h\nm=audio 5 RTP/AVP 18 0\n", ("h", 5, (0,))),
        ("c=IN IP4 h\nm=video 5 RTP/AVP 8\nm=audio 6 RTP/AVPF 8\nc=IN IP4 i\n", ("i", 6, (8,))),
        ("c=IN IP4 h\nm=audio 0 RTP/AVP 8\n", None),  # refused
        ("c=IN IP4 h\nm=audio 5 RTP/AVP 96\n", None),
        ("m=audio 5 RTP/AVP 8\n", None),  # nowhere
        ("c=IN IP4 h\nm=audio 5 RTP/SAVP 8\n", None),
    ],
)
def test_the_first_voice_in_g711_is_taken(text: str, found: tuple[str, int, tuple[int, ...]] | None) -> None:
    read = sdp.decode(text.encode())
    assert (None if read is None else (read.host, read.port, read.codecs)) == found
