"""Is the probe's telephone account registered, does its server answer, and how does a call sound?

OPTIONS each minute, REGISTER each hour, a call a day to a test number of the operator's (`voip_call`), one each 30 min
to a reflector of ours (`voip_path`: the way of voice over IP, not the operator's telephony).

Rule 1: only with an account of the probe's own, said so in the configuration; never the tenant's, whose calls a second
registration could take away.
Rule 2: only numbers of the configuration are called, never one that calls for help, so many a day, and never while the
line is in use.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balise_agent.contract import Record, failed, skipped
from balise_agent.net.gateway import HOST_PATTERN
from balise_agent.net.talk import LINGER_S
from balise_agent.probes import voice_left, voice_plan
from balise_agent.probes.context import Context
from balise_agent.probes.voice_left import Left
from balise_agent.probes.voice_numbers import NUMBER_ALLOWED, NUMBER_PATTERN, refusal_reason
from balise_agent.probes.voice_plan import Kept
from balise_agent.probes.voice_session import Called, Session, Target
from balise_agent.settings import Secret, choice, flag, number, secret, series_label, text

log = logging.getLogger(__name__)

DOMAIN: dict[str, Any] = {"pattern": r"[A-Za-z0-9_.:-]{1,253}", "allowed": "a domain or an address"}
HOST: dict[str, Any] = {"pattern": HOST_PATTERN, "allowed": "a host name or an address"}
USER: dict[str, Any] = {"pattern": r"[A-Za-z0-9_.+!~*'()-]{1,64}", "allowed": "a user name of 64 characters at most"}
TRANSPORTS = ("udp", "tcp", "any")
REFLECTOR = "reflector"
ANONYMOUS = "probe"  # the same for all: no number says whose line it is


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceAccount:
    """An account of the probe's own; ``dedicated`` says so. ``host``: the operator's proxy, where SRV does not lead.

    ``login``: the name that the digest has, where it is not ``user``.
    """

    label: str = series_label(dots=False)
    domain: str = text(**DOMAIN)
    user: str = text(**USER)
    login: str | None = text(None, **USER)
    password: Secret | None = secret()
    dedicated: bool = flag(False)
    host: str | None = text(None, **HOST)
    port: int = number(0, low=0, high=65_535)
    transport: str = choice("udp", TRANSPORTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceNumber:
    """A test number (echo, milliwatt) that an account may call; nothing else is ever called."""

    label: str = series_label(dots=False)
    account: str = series_label(dots=False)
    number: str = text(pattern=NUMBER_PATTERN, allowed=NUMBER_ALLOWED)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoicePath:
    """A `balise target --telephone`. ``host``: a name, looked up by SRV where ``port`` is 0, or an address."""

    label: str = series_label(dots=False)
    host: str = text(**HOST)
    port: int = number(0, low=0, high=65_535)
    transport: str = choice("udp", TRANSPORTS)
    token: Secret | None = secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceSettings:
    """``timeout_s``: without any answer, as long as who dials would wait; 4 transmissions. ``calls_a_day``: of all.

    ``call_every_s``: to test numbers; ``path_every_s``: to reflectors; ``linger_s``: how late voice may be.
    ``token``: of reflectors without one of their own. ``ungated``: before a call to a peer on this machine's loopback
    nobody asks whether the line is in use.
    """

    enabled: bool = flag(True)
    interval_s: float = number(60.0, low=1, high=86_400, unit="s")
    register_every_s: float = number(3_600.0, low=1, high=86_400, unit="s")
    call_every_s: float = number(86_400.0, low=1, high=86_400, unit="s")
    path_every_s: float = number(1_800.0, low=1, high=86_400, unit="s")
    calls_a_day: int = number(60, low=0, high=2_000)
    talk_s: float = number(20.0, low=0.2, high=30, unit="s")
    timeout_s: float = number(7.0, low=0.5, high=32, unit="s")
    linger_s: float = number(LINGER_S, low=0.1, high=30, unit="s")
    ring_s: float = number(30.0, low=0.5, high=120, unit="s")
    resolver: str | None = text(None, **HOST)
    resolver_port: int = number(53, low=1, high=65_535)
    ungated: bool = flag(False)
    token: Secret | None = secret()
    paths: tuple[VoicePath, ...] = ()  # the first: it is what the operator sets from afar
    accounts: tuple[VoiceAccount, ...] = ()
    numbers: tuple[VoiceNumber, ...] = ()


async def run(settings: VoiceSettings, context: Context) -> list[Record]:
    """What is due now of each account and reflector, one after the other."""
    if not settings.accounts and not settings.paths:
        return []
    round_ = _Round(settings, context)
    for account in settings.accounts:
        await round_.measure_account(account)
    for path in settings.paths:
        await round_.measure_path(path)
    round_.forget()
    return round_.records


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gate:
    """``refused``: why there is no call now; ``fields``: what the call's record says of it."""

    refused: str | None
    fields: dict[str, str]


def account_target(account: VoiceAccount) -> Target:
    """Whom to speak to, as whom."""
    password = "" if account.password is None else account.password.reveal()
    return Target(
        domain=account.domain,
        host=account.host,
        port=account.port,
        transport=account.transport,
        user=account.user,
        login=account.login or account.user,
        password=password,
    )


def path_target(path: VoicePath, token_of_all: Secret | None = None) -> Target:
    """The reflector, as nobody."""
    known = path.token or token_of_all
    token = None if known is None else known.reveal()
    named = path.host if path.port == 0 else None
    return Target(
        domain=path.host,
        host=None if named else path.host,
        port=path.port,
        transport=path.transport,
        user=ANONYMOUS,
        token=token,
    )


class _Round:
    """One run: what is kept, and what was found."""

    def __init__(self, settings: VoiceSettings, context: Context) -> None:
        self._settings, self._context = settings, context
        # `once` without a configuration has no folder: whoever is at the keyboard counts for himself.
        self._path = None if context.state_dir == Path("/") else context.state_dir / voice_plan.FILE
        self._counted = True  # as far as it is known: what cannot be written is not counted over a restart
        phase = context.rng.random()
        kept = Kept(phase=phase) if self._path is None else voice_plan.load(self._path, phase)
        self._kept, over = voice_plan.today(kept, context.wall_s())
        self.records: list[Record] = [] if over is None else [self._day(over)]
        self._keep(self._kept)
        self._left_path = None if self._path is None else self._path.with_name(voice_left.FILE)
        self._left = None if self._left_path is None else voice_left.load(self._left_path)
        if self._left is not None:
            outcome = failed("interrupted")
            self._put(
                self._left.measurement, self._left.target, Called(outcome=outcome, fields={"fail_class": "local"})
            )

    async def measure_account(self, account: VoiceAccount) -> None:
        """OPTIONS; where due, REGISTER and the calls of its numbers."""
        if not account.dedicated:
            self._put("voip_signal", f"{account.label}.options", Called(outcome=skipped("not_dedicated"), fields={}))
            return
        due = self._due(f"{account.label}.register", self._settings.register_every_s)
        numbers = [n for n in self._settings.numbers if n.account == account.label]
        calls = [n for n in numbers if self._due(f"{account.label}.{n.label}", self._settings.call_every_s)]
        async with self._session(account_target(account)) as session:
            self._put("voip_signal", f"{account.label}.options", await session.options())
            await self._hang_up(session, account.label)
            if due or calls:
                self._put("voip_signal", f"{account.label}.register", await session.register())
            for called in calls:
                left = Left(measurement="voip_call", target=called.label, peer=account.label)
                await self._call(session, left, called.number, reflector=False)

    async def measure_path(self, path: VoicePath) -> None:
        """OPTIONS; where due, a call."""
        due = self._due(f"{path.label}.path", self._settings.path_every_s)
        async with self._session(path_target(path, self._settings.token)) as session:
            self._put("voip_signal", f"{path.label}.options", await session.options())
            await self._hang_up(session, path.label)
            if due:
                left = Left(measurement="voip_path", target=path.label, peer=path.label)
                await self._call(session, left, REFLECTOR, reflector=True)

    def forget(self) -> None:
        """What a killed agent left has been told, and was hung up if its peer is still there."""
        if self._left is not None:
            self._leave(None)

    async def _hang_up(self, session: Session, label: str) -> None:
        """What a killed agent left there. Once: whoever does not answer now ends it himself, for nobody speaks."""
        left = self._left
        if left is not None and left.peer == label and left.invite is not None and left.answer is not None:
            over = await session.hang_up(left.invite, left.answer)
            log.log(logging.INFO if over else logging.WARNING, "call_left", extra={"over": over})

    async def _call(self, session: Session, left: Left, number_: str, *, reflector: bool) -> None:
        measurement, label = left.measurement, left.target
        reason = None if reflector else refusal_reason(number_, (n.number for n in self._settings.numbers))
        if reason is not None:
            self._put(measurement, label, Called(outcome=skipped(reason), fields={}))
            return
        gate = await self._gate(session)
        if gate.refused is not None:
            self._keep(voice_plan.refused(self._kept, gate.refused))
            return
        self._keep(voice_plan.called(self._kept))
        if not self._counted:
            self._put(measurement, label, Called(outcome=skipped("calls_not_counted"), fields={}))
            return
        self._leave(left)
        try:
            called = await session.call(
                number_,
                self._settings.talk_s,
                reflector=reflector,
                on_answer=lambda *two: self._leave(left.answered(*two)),
            )
        finally:
            self._leave(None)
        self._put(measurement, label, Called(outcome=called.outcome, fields={**called.fields, **gate.fields}))

    async def _gate(self, session: Session) -> _Gate:
        """Rule 2: the day's calls, then the line."""
        if self._kept.calls >= self._settings.calls_a_day:
            return _Gate(refused="budget", fields={})
        if self._context.line_use is None or (self._settings.ungated and session.is_loopback):
            return _Gate(refused=None, fields={"gate": "absent"})
        use, by = ("busy", None) if self._context.line_taken() else await self._context.line_use()
        if use == "busy":
            return _Gate(refused="line_busy", fields={})
        if use == "unknown" and by is None:
            return _Gate(refused="gate_unknown", fields={})
        return _Gate(refused=None, fields={"gate": use} | ({} if by is None else {"gate_by": by}))

    def _due(self, name: str, every_s: float) -> bool:
        """And its slot is taken. Whoever asks by hand or from afar wants it now."""
        wall_s = self._context.wall_s()
        due = self._context.asked or voice_plan.is_due(self._kept, name, every_s, wall_s)
        self._keep(voice_plan.taken(self._kept, name, every_s, wall_s))
        return due

    def _keep(self, kept: Kept) -> None:
        changed, self._kept = kept != self._kept, kept
        if self._path is not None and (changed or not self._path.exists()):
            try:
                voice_plan.save(self._path, kept)
            except OSError as exc:
                self._counted = False
                log.warning("voice_not_kept", extra={"path": str(self._path), "why": exc.strerror})

    def _leave(self, left: Left | None) -> None:
        """On disk, for who comes after a kill; None: there is no call any more."""
        self._left = left
        try:
            if self._left_path is not None and left is None:
                self._left_path.unlink(missing_ok=True)
            elif self._left_path is not None and left is not None:
                voice_left.save(self._left_path, left)
        except OSError as exc:
            log.warning("voice_not_kept", extra={"path": str(self._left_path), "why": exc.strerror})

    def _session(self, target: Target) -> Session:
        return Session(
            target,
            rng=self._context.rng,
            clock=self._context.monotonic,
            timeout_s=self._settings.timeout_s,
            ring_s=self._settings.ring_s,
            linger_s=self._settings.linger_s,
            resolver=None
            if self._settings.resolver is None
            else (self._settings.resolver, self._settings.resolver_port),
        )

    def _put(self, measurement: str, target: str, called: Called) -> None:
        record = Record(
            measurement=measurement,
            bt_ms=self._context.now_bt_ms(),
            target=target,
            outcome=called.outcome,
            fields=called.fields,
        )
        self.records.append(record)

    def _day(self, over: Kept) -> Record:
        """The day's count, told once it is over: without time of day (`heavy_day`)."""
        skips = {f"skipped_{name}": count for name, count in over.skipped.items()}
        fields = {"day": over.day, "run": over.calls, "skipped": sum(over.skipped.values()), **skips}
        return Record(measurement="heavy_day", bt_ms=self._context.now_bt_ms(), target="voice", fields=fields)
