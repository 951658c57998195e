"""Is what came valid, whose is it, and what is the sender told?

Pure but for the journal that it is handed: messages in, acks out, after one commit.

Rule 1: an ack says "committed". Nothing is acknowledged before the journal's transaction has ended.
Rule 2: the sender is the topic's; home, building and PON are the directory's, at the record's date.
Rule 3: authentic but unreadable is a dead letter and an ack that says so; unknown or revoked is neither kept nor
answered.
Rule 4: nothing dated after a withdrawn consent is kept, not even as a dead letter's or orphan's body.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from balise_agent import codec
from balise_agent.contract import Ack, Body, Outcome, Presence, Record, Refusal, Value, parse_topic, token
from balise_collector import wire
from balise_collector.journal import Journal
from balise_collector.journal_rows import DeadLetter, Message
from balise_collector.placement import Orphan, Place, Placement, Resolve, UnknownProbe, Withdrawn

FUTURE_MS = 300_000
"""A date further ahead than this is a clock gone wrong, not a late message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One message as the broker handed it over."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a probe is to be told, after the commit."""

    probe: str
    ack: Ack


class Ingest:
    """Takes messages into one journal. ``counts``: what happened to them since the start, by name."""

    def __init__(self, journal: Journal, resolve: Resolve, now_ms: Callable[[], int]) -> None:
        self._journal, self._now_ms = journal, now_ms
        self.resolve = resolve
        self.counts: Counter[str] = Counter()
        self.unknown_fields: Counter[str] = Counter()
        self.dead: Counter[str] = Counter()

    def take(self, batch: Sequence[Incoming]) -> list[Reply]:
        """Commits a batch and says what to answer; sqlite3.OperationalError: nothing was kept, nothing is answered."""
        now_ms = self._now_ms()
        committed: dict[tuple[str, str], list[int]] = defaultdict(list)
        rejected: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        counted: Counter[str] = Counter()
        with self._journal.transaction():
            for incoming in batch:
                parsed = parse_topic(incoming.topic)
                if parsed is None:
                    counted["foreign_topic"] += 1
                elif parsed[1] == "state":
                    counted[self._take_state(parsed[0], incoming.payload, now_ms)] += 1
                elif parsed[1] == "records":
                    counted[self._take_records(parsed[0], incoming.payload, now_ms, committed, rejected)] += 1
        self.counts += counted
        keys = committed.keys() | rejected.keys()
        return [
            Reply(probe=probe, ack=Ack(stream=stream, ranges=ranges(committed[key]), rejected=tuple(rejected[key])))
            for key in keys
            for probe, stream in (key,)
        ]

    def replay(self, ids: Iterable[int]) -> Counter[str]:
        """Reads dead letters again, as after an upgrade: what can be read now is kept, and no letter any more."""
        outcomes: Counter[str] = Counter()
        for id_ in ids:
            found = self._journal.dead_letter(id_)
            decoded = None if found is None else wire.decode(found[1])
            if found is None or decoded is None or isinstance(decoded, Refusal):
                outcomes[decoded.name if isinstance(decoded, Refusal) else "unknown_id"] += 1
                continue
            now_ms = self._now_ms()
            with self._journal.transaction():
                state = self._journal.add(_message(found[0], decoded, self._placed(found[0], decoded, now_ms)), now_ms)
                if state != "conflict":
                    self._journal.forget_dead_letter(id_)
            outcomes[state] += 1
        return outcomes

    def _take_records(
        self,
        probe: str,
        payload: bytes,
        now_ms: int,
        committed: dict[tuple[str, str], list[int]],
        rejected: dict[tuple[str, str], list[tuple[int, str]]],
    ) -> str:
        if isinstance(self.resolve(probe, now_ms), UnknownProbe):
            return "unknown_probe"
        decoded = wire.decode(payload)
        if isinstance(decoded, Refusal):
            return self._refuse(probe, payload, decoded, now_ms, rejected)
        self.unknown_fields.update(decoded.unknown)
        state = self._journal.add(_message(probe, decoded, self._placed(probe, decoded, now_ms)), now_ms)
        if state == "conflict":
            return self._refuse(probe, payload, Refusal(name="conflict"), now_ms, rejected)
        committed[(probe, decoded.stream)].append(decoded.seq)
        return state

    def _refuse(
        self,
        probe: str,
        payload: bytes,
        refusal: Refusal,
        now_ms: int,
        rejected: dict[tuple[str, str], list[tuple[int, str]]],
    ) -> str:
        line, _, body = payload.partition(b"\n")
        key = hashlib.sha256(body or line).digest()[:16]
        if isinstance(self.resolve(probe, now_ms), Place | Orphan):
            letter = DeadLetter(probe=probe, key=key, reason=refusal.name, detail=refusal.detail, payload=payload)
            self._journal.add_dead_letter(letter, now_ms)
        envelope = codec.decode_envelope(line)
        if not isinstance(envelope, Refusal):
            rejected[(probe, envelope.stream)].append((envelope.seq, refusal.name))
        self.dead[refusal.name] += 1
        return "dead_letter"

    def _placed(self, probe: str, decoded: wire.Decoded, now_ms: int) -> Iterable[tuple[Placement, bytes]]:
        """Where it belongs: whole, or in parts where an assignment begins or ends within it."""
        if decoded.ts_ms == 0:
            known = self.resolve(probe, now_ms)
            return [(known if isinstance(known, Withdrawn) else Orphan(reason="unsynced"), decoded.body_zlib)]
        dates = [decoded.ts_ms + row.at for row in decoded.records]
        earliest, latest = min(dates), max(dates)
        place = self.resolve(probe, latest)
        if latest > now_ms + FUTURE_MS and not isinstance(place, Withdrawn):
            return [(Orphan(reason="clock_suspect"), decoded.body_zlib)]
        if earliest == latest or self.resolve(probe, earliest) == place:
            return [(place, decoded.body_zlib)]
        return self._split(probe, decoded)

    def _split(self, probe: str, decoded: wire.Decoded) -> Iterable[tuple[Placement, bytes]]:
        parts: dict[Placement, list[wire.Row]] = defaultdict(list)
        for row in decoded.records:
            parts[self.resolve(probe, decoded.ts_ms + row.at)].append(row)
        for place, rows in parts.items():
            records = tuple(_record(row, decoded.bt_ms) for row in rows)
            body = Body(nonce=token(secrets.token_bytes(16)), bt_ms=decoded.bt_ms, records=records)
            yield place, codec.deflate(codec.encode_body(body))

    def _take_state(self, probe: str, payload: bytes, now_ms: int) -> str:
        presence = codec.decode_presence(payload)
        place = self.resolve(probe, now_ms)
        if isinstance(presence, Refusal) or isinstance(place, UnknownProbe):
            return "unknown_probe" if isinstance(place, UnknownProbe) else "bad_state"
        kept = place if isinstance(place, Place) else None
        changed = self._journal.add_presence(probe, presence.online, payload, now_ms, kept, presence_body(presence))
        return "presence" if changed else "presence_again"


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


def _message(probe: str, decoded: wire.Decoded, placed: Iterable[tuple[Placement, bytes]]) -> Message:
    pairs = list(placed)
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
