"""Is what came valid, whose is it, and what is the sender told?

Pure but for the journal that it is handed: messages in, acks out, after one commit.

Rule 1: an ack says "committed". Nothing is acknowledged before the journal's transaction has ended.
Rule 2: the sender is the topic's; home, building and PON are the directory's, at the record's date.
Rule 3: authentic but unreadable is a dead letter and an ack that says so; unknown or revoked is neither kept nor
answered.
Rule 4: nothing dated after a withdrawn consent, or of a time that was erased, is kept, not even as a dead letter's or
orphan's body.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from balise_agent import codec
from balise_agent.contract import Ack, Answer, Body, Outcome, Presence, Record, Refusal, Value, parse_topic, token
from balise_collector import wire
from balise_collector.erased import Erased
from balise_collector.journal import Journal
from balise_collector.journal_rows import DeadLetter, Message
from balise_collector.placement import Orphan, Place, Placement, Resolve, UnknownProbe, Withdrawn

FUTURE_MS = 300_000
"""A date further ahead than this is a clock gone wrong, not a late message."""

MAX_ANSWERS = 256
"""That wait to be fetched by who asked; they are nowhere on disk here."""

PILE = 50
"""Messages of one topic in one commit: five windows. What is committed together is not acknowledged, so that an honest
probe has one window there, and one more for each time that it sent again."""

TOGETHER = 32
"""Messages that take each step together, and then the next: what a step needs of programs stays in the processor's
cache. From ten on it takes a quarter less time than one after the other; what is decoded at once stays small."""

MAX_NAMES = 200
"""Names of unknown fields that are counted each by itself: a probe could invent them without end."""


class Incoming(NamedTuple):
    """One message as the broker handed it over. ``mid``: its number in the session, for the PUBACK; 0: it wants
    none."""

    topic: str
    payload: bytes
    mid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a probe is to be told, after the commit."""

    probe: str
    ack: Ack


class Ingest:
    """Takes messages into one journal. ``counts``: what happened to them since the start, by name. For quotas:
    ``used``, messages, bytes and messages above a `PILE` so far by topic; ``refused``, messages by probe that say
    nothing; ``marked``: the last mark of the collector's own that came back."""

    def __init__(self, journal: Journal, resolve: Resolve, now_ms: Callable[[], int]) -> None:
        self._journal, self._now_ms = journal, now_ms
        self.resolve = resolve
        self.counts: Counter[str] = Counter()
        self.unknown_fields: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()
        self.used: dict[str, list[int]] = {}
        self.refused: Counter[str] = Counter()
        self.answers: deque[Answer] = deque(maxlen=MAX_ANSWERS)
        self.marked = b""

    def take(self, batch: Sequence[Incoming]) -> list[Reply]:
        """Commits a batch and says what to answer; sqlite3.OperationalError: nothing was kept, nothing is answered."""
        with self._journal.transaction():
            turn = self._turn()
            for start in range(0, len(batch), TOGETHER):
                self._take_records(turn, self._sort(turn, batch[start : start + TOGETHER]))
        self._count(turn)
        self._meter(batch)
        return turn.replies()

    def replay(self, ids: Iterable[int]) -> Counter[str]:
        """Reads dead letters again, as after an upgrade: what can be read now is kept, and no letter any more."""
        outcomes: Counter[str] = Counter()
        for id_ in ids:
            with self._journal.transaction():
                outcomes[self._replay_one(self._turn(), id_)] += 1
        return outcomes

    def _turn(self) -> _Turn:
        """Within the transaction: what was erased before it stays away, what is erased after it is found in it."""
        return _Turn(now_ms=self._now_ms(), resolve=unless_erased(self.resolve, self._journal.erased()))

    def _replay_one(self, turn: _Turn, id_: int) -> str:
        found = self._journal.dead_letter(id_)
        if found is None:
            return "unknown_id"
        probe, payload = found
        if turn.knows_not(probe):
            return "unknown_probe"
        decoded = wire.decode(payload)
        if isinstance(decoded, Refusal):
            return decoded.name
        (state,) = self._add(turn, [(probe, decoded)])
        if state != "conflict":
            self._journal.forget_dead_letter(id_)
        return state

    def _sort(self, turn: _Turn, batch: Iterable[Incoming]) -> list[tuple[str, bytes]]:
        """The batches of records among them, with their senders; the others are taken at once."""
        records: list[tuple[str, bytes]] = []
        for topic, payload, _mid in batch:
            match parse_topic(topic):
                case (probe, "records"):
                    records.append((probe, payload))
                case (probe, "state"):
                    turn.counts[self._take_state(turn, probe, payload)] += 1
                case (_, "ack"):
                    self.marked = payload
                case None:
                    turn.counts["foreign_topic"] += 1
        return records

    def _take_records(self, turn: _Turn, sent: Iterable[tuple[str, bytes]]) -> None:
        known: list[tuple[str, bytes, wire.Decoded]] = []
        for probe, payload in sent:
            decoded = None if turn.knows_not(probe) else wire.decode(payload)
            if isinstance(decoded, wire.Decoded):
                known.append((probe, payload, decoded))
            else:
                turn.counts["unknown_probe" if decoded is None else self._refuse(turn, probe, payload, decoded)] += 1
        states = self._add(turn, [(probe, decoded) for probe, _, decoded in known])
        for (probe, payload, decoded), state in zip(known, states, strict=True):
            turn.unknown_fields.update(decoded.unknown)
            turn.counts[self._answer(turn, probe, payload, decoded, state)] += 1

    def _answer(self, turn: _Turn, probe: str, payload: bytes, decoded: wire.Decoded, state: str) -> str:
        if state == "conflict":
            return self._refuse(turn, probe, _cleaned(payload, decoded), Refusal(name="conflict"), decoded)
        turn.committed[(probe, decoded.stream)].append(decoded.seq)
        return state

    def _add(self, turn: _Turn, sent: Iterable[tuple[str, wire.Decoded]]) -> list[str]:
        """What became of each, as the journal says it; "withdrawn": it is new, and nothing of it may be kept."""
        messages = [
            _message(probe, decoded, placed(turn.resolve, probe, decoded, turn.now_ms)) for probe, decoded in sent
        ]
        states = self._journal.add(messages, turn.now_ms)
        return [
            "withdrawn" if state == "new" and not (message.parts or message.orphans) else state
            for message, state in zip(messages, states, strict=True)
        ]

    def _refuse(
        self, turn: _Turn, probe: str, payload: bytes, refusal: Refusal, decoded: wire.Decoded | None = None
    ) -> str:
        """Keeps it as a dead letter, unless some date that it has or may have is one of a withdrawn consent."""
        line, _, body = payload.partition(b"\n")
        envelope = codec.decode_envelope(line)
        dates = [turn.now_ms]
        if not isinstance(envelope, Refusal):
            turn.rejected[(probe, envelope.stream)].append((envelope.seq, refusal.name))
            dates += [date for date in (envelope.ts_ms, *(envelope.window or ())) if date]
        if decoded is not None:
            dates += _dates(decoded)
        if all(isinstance(turn.resolve(probe, date), Place | Orphan) for date in dates):
            key = hashlib.sha256(body or line).digest()[:16]
            letter = DeadLetter(probe=probe, key=key, reason=refusal.name, detail=refusal.detail, payload=payload)
            self._journal.add_dead_letter(letter, turn.now_ms)
        turn.dead[refusal.name] += 1
        turn.refused[probe] += 1
        return "dead_letter"

    def _take_state(self, turn: _Turn, probe: str, payload: bytes) -> str:
        if turn.knows_not(probe):
            return "unknown_probe"
        presence = codec.decode_presence(payload)
        if isinstance(answer := codec.decode_answer(payload), Answer):
            self.answers.append(answer)
            return "answer"
        if isinstance(presence, Refusal):
            turn.refused[probe] += 1
            return "bad_state"
        place = turn.resolve(probe, turn.now_ms)
        if isinstance(place, Withdrawn):
            self._journal.forget_presence(probe)
            return "withdrawn"
        kept = place if isinstance(place, Place) else None
        known = codec.encode_presence(presence)  # not what came: names that nobody knows have values
        changed = self._journal.add_presence(probe, presence.online, known, turn.now_ms, kept, presence_body(presence))
        return "presence" if changed else "presence_again"

    def _count(self, turn: _Turn) -> None:
        self.counts.update(turn.counts)
        self.dead.update(turn.dead)
        self.refused.update(turn.refused)
        for name, count in turn.unknown_fields.items():
            is_new = name not in self.unknown_fields and len(self.unknown_fields) >= MAX_NAMES
            self.unknown_fields["others" if is_new else name] += count

    def _meter(self, batch: Sequence[Incoming]) -> None:
        """By topic, which needs no parsing: 0.15 us a message."""
        used = self.used
        for topic, payload, _mid in batch:
            try:
                entry = used[topic]
            except KeyError:
                entry = used[topic] = [0, 0, 0]
            entry[0] += 1
            entry[1] += len(payload)
        if len(batch) > PILE:
            for topic, count in Counter(map(itemgetter(0), batch)).items():
                used[topic][2] += max(0, count - PILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """One batch: one moment, one snapshot of the directory, and what is said and counted once it is committed."""

    now_ms: int
    resolve: Resolve
    committed: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    rejected: dict[tuple[str, str], list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def knows_not(self, probe: str) -> bool:
        """Not in the directory, or revoked."""
        return isinstance(self.resolve(probe, self.now_ms), UnknownProbe)

    def replies(self) -> list[Reply]:
        """One a stream."""
        keys = dict.fromkeys((*self.committed, *self.rejected))
        found = []
        for key in keys:
            numbers, refused = self.committed.get(key, ()), self.rejected.get(key, ())
            found.append(Reply(probe=key[0], ack=Ack(stream=key[1], ranges=ranges(numbers), rejected=tuple(refused))))
        return found


def unless_erased(resolve: Resolve, erased: Erased) -> Resolve:
    """The directory's answer, but of what was erased nothing is kept: it is as if the home had not agreed then."""

    def resolved(probe: str, ts_ms: int) -> Placement:
        place = resolve(probe, ts_ms)
        return Withdrawn() if isinstance(place, Place) and erased.covers(place.home, ts_ms) else place

    return resolved if erased else resolve


def placed(resolve: Resolve, probe: str, decoded: wire.Decoded, now_ms: int) -> list[tuple[Placement, bytes]]:
    """Where a message belongs: whole, or in parts where something begins or ends within it.

    Where its date is not known or cannot be, one `Withdrawn` among the dates that it may have is enough to keep
    nothing.
    """
    if decoded.ts_ms == 0:
        possible = [now_ms, *(decoded.window or ())]
        return [(_apart(resolve, probe, possible, Orphan(reason="unsynced")), decoded.body_zlib)]
    dates = _dates(decoded)
    if max(dates) > now_ms + FUTURE_MS:  # one clock dated all of its records
        return [(_apart(resolve, probe, [now_ms, *dates], Orphan(reason="clock_suspect")), decoded.body_zlib)]
    places = [resolve(probe, date) for date in dates]
    first = places[0]
    if all(place is first or place == first for place in places):
        return [(first, decoded.body_zlib)]
    return _split(decoded, places)


def _apart(resolve: Resolve, probe: str, possible_ms: Iterable[int], orphan: Orphan) -> Placement:
    found = (resolve(probe, date) for date in possible_ms)
    return next((place for place in found if isinstance(place, Withdrawn)), orphan)


def _split(decoded: wire.Decoded, places: Iterable[Placement]) -> list[tuple[Placement, bytes]]:
    parts: dict[Placement, list[Record]] = defaultdict(list)
    for row, place in zip(decoded.records, places, strict=True):
        parts[place].append(_record(row, decoded.bt_ms))
    bodies = {
        place: Body(nonce=token(secrets.token_bytes(16)), bt_ms=decoded.bt_ms, records=tuple(records))
        for place, records in parts.items()
    }
    return [(place, codec.deflate(codec.encode_body(body))) for place, body in bodies.items()]


def _dates(decoded: wire.Decoded) -> list[int]:
    return [decoded.ts_ms + row.at for row in decoded.records] if decoded.ts_ms else []


def _cleaned(payload: bytes, decoded: wire.Decoded) -> bytes:
    """A message without the values of names that nobody knows, in its envelope and in its body."""
    envelope = codec.decode_envelope(payload.partition(b"\n")[0])
    return b"" if isinstance(envelope, Refusal) else codec.encode_batch(envelope, decoded.body_zlib)


def ranges(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Numbers as inclusive ranges, sorted: 1, 2, 3, 7 is (1, 3), (7, 7)."""
    found: list[tuple[int, int]] = []
    for n in sorted(set(numbers)):
        if found and found[-1][1] == n - 1:
            found[-1] = (found[-1][0], n)
        else:
            found.append((n, n))
    return tuple(found)


def presence_body(presence: Presence) -> bytes:
    """A presence as a stored body; its date is when the collector saw it."""
    fields: dict[str, Value] = {"online": presence.online, "agent": presence.agent}
    fields |= {"boot": presence.boot, "config": presence.config}
    record = codec.record_json(Record(measurement="presence", bt_ms=0, fields=fields), 0)
    body = {"nonce": token(secrets.token_bytes(16)), "bt": 0, "records": [record]}
    return codec.deflate(json.dumps(body, separators=(",", ":")).encode())


def _message(probe: str, decoded: wire.Decoded, pairs: Sequence[tuple[Placement, bytes]]) -> Message:
    return Message(
        probe=probe,
        stream=decoded.stream,
        previous=decoded.previous,
        seq=decoded.seq,
        ts_ms=decoded.ts_ms,
        boot=decoded.boot,
        retention=decoded.retention,
        chain=decoded.chain,
        body_hash=decoded.body_hash,
        parts=tuple((place, body) for place, body in pairs if isinstance(place, Place)),
        orphans=tuple((place.reason, body) for place, body in pairs if isinstance(place, Orphan)),
        window=decoded.window,
    )


def _record(row: wire.Row, bt_ms: int) -> Record:
    outcome = Outcome(kind=row.kind, reason=row.reason)
    return Record(
        measurement=row.measurement, bt_ms=bt_ms + row.at, target=row.target, outcome=outcome, fields=row.fields
    )
