"""Which of these lines does InfluxDB refuse, if any?

Rule 1: when `send` returns, each line is kept, refused by InfluxDB in its own words, or too old for its policy. What it
cannot say that of, it raises `Unavailable` for; sending again what was kept changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from balise_agent.catalogue import Retention
from balise_collector.store import Unavailable
from balise_collector.store.influx.posting import BadLines, Post, TooLarge

_DROPPED = re.compile(r"dropped=(\d+)|dropped (\d+) points")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A line that InfluxDB does not take, ever."""

    line: str
    why: str


@dataclass(slots=True, kw_only=True)
class Sent:
    """What became of lines beyond being kept. ``requests``: how many it took."""

    refused: list[Refused] = field(default_factory=list)
    too_old: int = 0
    requests: int = 0


def joined(lines: Sequence[str]) -> bytes:
    """Lines as they are posted."""
    return "\n".join(lines).encode()


def send(post: Post, retention: Retention, lines: Sequence[str], body: bytes | None = None) -> Sent:
    """Halves what is refused until each bad line stands alone: 3 bad ones of 1,000 take some 50 requests.

    ``body``: all lines, where somebody has `joined` them already. Unavailable: some may be kept, none need be; also
    where one line alone is too much: none is longer than a message, so that it is no line's fault.
    """
    sent = Sent()
    pieces = [lines] if lines else []
    while pieces:
        piece = pieces.pop()
        sent.requests += 1
        try:
            post.post(retention, body if body is not None and piece is lines else joined(piece))
        except TooLarge as exc:
            if len(piece) == 1:
                raise Unavailable(str(exc)) from exc
            pieces += _halves(piece)
        except BadLines as exc:
            if exc.only_too_old:
                sent.too_old += _how_many(str(exc), len(piece))
            elif len(piece) == 1:
                sent.refused.append(Refused(line=piece[0], why=str(exc)))
            else:
                pieces += _halves(piece)
    return sent


def _halves(piece: Sequence[str]) -> list[Sequence[str]]:
    """The first half last, where it is taken next."""
    half = len(piece) // 2
    return [piece[half:], piece[:half]]


def _how_many(words: str, at_most: int) -> int:
    found = _DROPPED.search(words)
    return min(at_most, int(found[1] or found[2])) if found else at_most
