"""A small operator's telephony for the demo: an account, an echo number, and what can be wrong with them.

    python -m balise_collector.demo.exchange [--fault FAULT...]

It says its ports as one line of JSON. Faults: `off` (it answers nothing), `register=CODE`, `call=CODE` (its answer),
`loss=PERCENT` (of the voice, on the way back), `mute` (no voice comes back).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import signal
from dataclasses import dataclass, replace

from balise_agent.net.sip import digest
from balise_agent.net.sip.message import Headers, Request, Response, value
from balise_collector.target import Telephone, Telephony, serve_telephony
from balise_collector.target.telephone import answer_to

DOMAIN, USER, PASSWORD, NUMBER = "demo.invalid", "probe", "of-the-demo", "echo"
_REGISTERED_S = 600
_CODES = range(400, 700)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong. Codes: None is nothing."""

    off: bool = False
    mute: bool = False
    register: int | None = None
    call: int | None = None
    loss_pct: float = 0.0


def read_faults(texts: list[str]) -> Faults:
    """ValueError: one of them is no fault of a telephone."""
    found = Faults()
    for text in texts:
        name, _, told = text.partition("=")
        if text in ("off", "mute"):
            found = replace(found, off=found.off or text == "off", mute=found.mute or text == "mute")
        elif name in ("register", "call") and told.isascii() and told.isdigit() and int(told) in _CODES:
            found = replace(found, register=int(told)) if name == "register" else replace(found, call=int(told))
        elif name == "loss" and told.isascii() and told.isdigit() and int(told) <= 100:
            found = replace(found, loss_pct=float(told))
        else:
            raise ValueError(f"{text}: not one of off, mute, register=CODE, call=CODE, loss=PERCENT")
    return found


class Exchange:
    """A registrar with one account, whose calls have an echo."""

    def __init__(self, faults: Faults, rng: random.Random) -> None:
        self._faults, self._rng = faults, rng
        self._telephone = Telephone()
        self._challenge = digest.Challenge(realm=DOMAIN, nonce=secrets.token_hex(16), algorithm="SHA-256", qop=True)

    @property
    def voice_port(self) -> int:
        return self._telephone.voice_port

    @voice_port.setter
    def voice_port(self, port: int) -> None:
        self._telephone.voice_port = port

    def answer(self, request: Request, here: tuple[str, int], source: tuple[str, int], *, tcp: bool) -> Response | None:
        """As an operator's: credentials first."""
        if self._faults.off:
            return None
        if request.method == "REGISTER":
            return self._registered(request, source)
        if request.method == "INVITE":
            if not self._knows(request, "proxy-authorization"):
                return self._challenged(request, 407, "Proxy Authentication Required", source)
            if self._faults.call is not None:
                return answer_to(request, self._faults.call, "As Asked", source)
        return self._telephone.answer(request, here, source, tcp=tcp)

    def heard(self, data: bytes, source: tuple[str, int]) -> bytes | None:
        """An echo: the same packet."""
        known = self._telephone.heard(data, source) is not None
        lost = self._faults.mute or self._rng.random() * 100 < self._faults.loss_pct
        return data if known and not lost else None

    def _registered(self, request: Request, source: tuple[str, int]) -> Response:
        if not self._knows(request, "authorization"):
            return self._challenged(request, 401, "Unauthorized", source)
        if self._faults.register is not None:
            return answer_to(request, self._faults.register, "As Asked", source)
        contact = value(request.headers, "contact") or ""
        bound = (("Contact", f"{contact};expires={_REGISTERED_S}"),) if value(request.headers, "expires") != "0" else ()
        return answer_to(request, 200, "OK", source, bound)

    def _knows(self, request: Request, header: str) -> bool:
        login = digest.Login(user=USER, password=PASSWORD)
        told = value(request.headers, header)
        return told is not None and digest.is_right(told, self._challenge, login, request.method)

    def _challenged(self, request: Request, code: int, phrase: str, source: tuple[str, int]) -> Response:
        name = "WWW-Authenticate" if code == 401 else "Proxy-Authenticate"
        asked = f'Digest realm="{DOMAIN}", nonce="{self._challenge.nonce}", algorithm=SHA-256, qop="auth"'
        headers: Headers = ((name, asked),)
        return answer_to(request, code, phrase, source, headers)


def main() -> None:
    """Until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m balise_collector.demo.exchange")
    parser.add_argument("--fault", action="append", default=[], metavar="FAULT")
    faults = read_faults(parser.parse_args().fault)
    asyncio.run(_serve(Exchange(faults, random.Random(1))))


async def _serve(exchange: Exchange) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def ready(sip: int, voice: int) -> None:
        print(json.dumps({"sip": sip, "voice": voice}), flush=True)

    await serve_telephony("127.0.0.1", Telephony(telephone=exchange, sip_port=0), stop, ready)


if __name__ == "__main__":
    main()
