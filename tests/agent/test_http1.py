"""Is an HTTP answer read to its end, however it comes, and is what is wrong with it named?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balise_agent.net import http1
from balise_agent.net.http1 import Response

COMPLETE = [
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, 0, id="no body"),
    pytest.param(b"HTTP/1.1 204\r\n\r\n", 204, 0, id="no reason phrase"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, 5, id="with a length"),
    pytest.param(b"HTTP/1.0 404 Gone away\r\ncontent-length:0\r\n\r\n", 404, 0, id="empty"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
        200,
        15,
        id="chunked, with a trailer",
    ),
    pytest.param(b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 N\r\n\r\n", 204, 0, id="after an interim one"),
]


@pytest.mark.parametrize(("data", "status", "size"), COMPLETE)
def test_an_answer_is_the_same_whole_and_byte_by_byte(data: bytes, status: int, size: int) -> None:
    whole, slow = Response(), Response()
    whole.feed(data + b"trailing")
    for i in range(len(data)):
        assert not slow.complete
        slow.feed(data[i : i + 1])
    for response in (whole, slow):
        assert (response.status, response.body_bytes, response.fault) == (status, size, None)
        assert response.complete


@pytest.mark.parametrize(("data", "status", "size"), COMPLETE)
def test_an_answer_that_ends_early_is_not_whole(data: bytes, status: int, size: int) -> None:
    for cut in range(len(data)):
        response = Response()
        response.feed(data[:cut])
        response.end()
        assert (response.complete, response.fault) == (False, "closed_early")


def test_without_a_length_the_body_goes_to_the_end() -> None:
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\n\r\nsome")
    response.feed(b" bytes")
    assert not response.complete
    response.end()
    assert (response.complete, response.body_bytes) == (True, 10)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "bad_http"),
        (b"HTTP/2 200\r\n\r\n", "bad_http"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "bad_http"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "bad_http"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "bad_http"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "bad_http"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "bad_http"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\naXX\r\n", "bad_http"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2_000, "bad_http"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", "too_large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 262145\r\n\r\n", "too_large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(262_145), "too_large"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "too_large"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_more_is_taken(data: bytes, fault: str) -> None:
    response = Response()
    response.feed(data)
    response.feed(b"more")
    response.end()
    assert (response.fault, response.complete) == (fault, False)


def test_endless_interim_answers_are_bounded_by_the_time_that_the_caller_gives() -> None:
    response = Response()
    response.feed(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000)
    assert (response.status, response.complete, response.fault) == (None, False, None)


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n", b"5\r\n"]))))
def test_no_bytes_make_it_raise(parts: list[bytes]) -> None:
    response = Response()
    for part in parts:
        response.feed(part)
    response.end()
    assert response.complete is (response.fault is None)


def test_a_get_asks_for_one_answer_and_no_more() -> None:
    assert http1.encode_get("a.example:8443", "/small?x=1").split(b"\r\n") == [
        b"GET /small?x=1 HTTP/1.1",
        b"Host: a.example:8443",
        b"User-Agent: balise",
        b"Accept: */*",
        b"Accept-Encoding: identity",
        b"Connection: close",
        b"",
        b"",
    ]
