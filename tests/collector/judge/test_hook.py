"""Is a webhook signed, sent again until it is taken, and sent in order? Against a server written by hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from balise_collector.judging.hook import AGAIN_S, HookError, Target, deliver, event, is_signed, load, post, signature
from balise_collector.judging.state import State

KEY = b"a key of thirty-two bytes, or so"
NOW_MS = 1_772_600_400_000


class Peer:
    """Answers with what stands in ``statuses``, then with 204; keeps what it was sent."""

    def __init__(self, statuses: list[int]) -> None:
        self.taken: list[tuple[dict[str, str], bytes]] = []
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                peer.taken.append((dict(self.headers), body))
                self.send_response(statuses.pop(0) if statuses else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.target = Target(url=f"http://127.0.0.1:{self.server.server_address[1]}/in?x=1", key=KEY)


@contextmanager
def peer(*statuses: int) -> Iterator[Peer]:
    made = Peer(list(statuses))
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State(tmp_path / "judge.db")
    yield made
    made.close()


def put(state: State, id_: str, *events: str) -> None:
    with state.transaction():
        for name in events:
            state.post(id_, json.dumps({"event": name, "id": id_}).encode(), NOW_MS)


def test_it_is_signed_over_its_time_and_body(state: State) -> None:
    put(state, "I1", "opened")
    with peer() as made:
        assert deliver(state, made.target, NOW_MS, post) == 1
    ((headers, body),) = made.taken
    said = headers["Balise-Signature"]
    assert is_signed(KEY, said, body, NOW_MS // 1_000)
    assert not is_signed(KEY, said, body + b" ", NOW_MS // 1_000)
    assert not is_signed(KEY, said, body, NOW_MS // 1_000 + 301)
    assert not is_signed(b"another key of the same length..", said, body, NOW_MS // 1_000)
    assert state.waiting() == 0


def test_what_is_refused_is_sent_again_later_and_nothing_overtakes_it(state: State) -> None:
    put(state, "I1", "opened", "closed")
    put(state, "I2", "opened")
    with peer(500) as made:
        assert deliver(state, made.target, NOW_MS, post) == 1
        assert [json.loads(body)["id"] for _, body in made.taken] == ["I1", "I2"]
        assert deliver(state, made.target, NOW_MS + AGAIN_S[0] * 1_000 - 1, post) == 0
        assert deliver(state, made.target, NOW_MS + AGAIN_S[0] * 1_000, post) == 2
    assert [json.loads(body)["event"] for _, body in made.taken] == ["opened", "opened", "opened", "closed"]


def test_a_server_that_is_not_there_loses_nothing(state: State) -> None:
    with peer() as made:
        target = made.target
    put(state, "I1", "opened")
    assert deliver(state, target, NOW_MS, post) == 0
    assert state.waiting() == 1


BASE = {"state": "open", "element": "pon", "code": "P1", "part": False, "cause": "unknown", "hit": 12}


@pytest.mark.parametrize(
    ("before", "changes", "told"),
    [
        (None, {"state": "suspected"}, None),
        (None, {}, "opened"),
        (None, {"works": "W1"}, None),
        (None, {"state": "reviewed"}, None),
        (BASE, {"hit": 13}, None),
        (BASE, {"cause": "fibre"}, "changed"),
        (BASE, {"state": "recovering"}, "changed"),
        (BASE, {"state": "closed"}, "closed"),
        ({**BASE, "state": "closed"}, {"state": "reviewed", "cause": "fibre"}, "changed"),
    ],
)
def test_only_what_matters_is_told(before: dict[str, object] | None, changes: dict[str, object], told: str) -> None:
    assert event(BASE | changes, before) == told


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"url": "ftp://a", "key_file": "k"}', '{"url": "http://a", "key_file": "none"}']
)
def test_settings_that_do_not_do_are_said_in_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "k").write_bytes(KEY)
    (tmp_path / "webhook.json").write_text(text)
    with pytest.raises(HookError):
        load(tmp_path / "webhook.json")


def test_the_key_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(KEY + b"\n")
    (tmp_path / "webhook.json").write_text('{"url": "https://a.example/x", "key_file": "k"}')
    target = load(tmp_path / "webhook.json")
    assert target == Target(url="https://a.example/x", key=KEY)
    assert "thirty" not in repr(target)
    assert load(tmp_path / "none.json") is None
    assert signature(KEY, 1, b"x") != signature(KEY, 2, b"x")
