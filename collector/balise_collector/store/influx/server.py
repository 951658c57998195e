"""Which InfluxDB is it, and who are we to it?

Rule 1: what speaks for us is in a file of mode 0600, never in a configuration, a log or a command's arguments.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from balise_agent.catalogue import Retention

DEFAULT_DATABASE = "balise"
DEFAULT_POLICY = "autogen"  # what InfluxDB 2 calls the policy of a bucket without "/" when it is asked in InfluxQL


class ServerError(Exception):
    """What cannot be done with an InfluxDB, in one line for its operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """``org``: of 2.x, whose API is then spoken; "": the API of 1.x.

    ``credential``: "" where nobody is asked, "user:password" on 1.x, else a token.
    """

    url: str
    database: str = DEFAULT_DATABASE
    org: str = ""
    credential: str = field(default="", repr=False)

    def authorization(self) -> dict[str, str]:
        """The header that says who we are."""
        if not self.credential:
            return {}
        if ":" in self.credential:  # no token of 2.x has one
            return {"Authorization": f"Basic {base64.b64encode(self.credential.encode()).decode()}"}
        return {"Authorization": f"Token {self.credential}"}

    def bucket(self, retention: Retention) -> str:
        """The bucket of a class on 2.x. "db/rp" is read as that policy of that database in InfluxQL, with no mapping
        to be made, so queries are the same on 1.x."""
        name = policy(retention)
        return self.database if name == DEFAULT_POLICY else f"{self.database}/{name}"


def policy(retention: Retention) -> str:
    """The retention policy of a class. Raw measurements are in the default one, so that `FROM reach` finds them."""
    return DEFAULT_POLICY if retention == "raw_90d" else retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What DATA/influx/server.json holds: where InfluxDB is, and the files of what speaks for us ("": nobody asks).

    ``alone``: it is the only store of measurements; the embedded one is not written.
    """

    url: str
    database: str = DEFAULT_DATABASE
    org: str = ""
    write_file: str = ""
    read_file: str = ""
    alone: bool = False

    def writer(self) -> Server:
        """As the collector. ServerError: its file."""
        return self._server(self.write_file)

    def reader(self) -> Server:
        """As one who reads. ServerError: its file."""
        return self._server(self.read_file or self.write_file)

    @property
    def identity(self) -> str:
        """What a cursor is of: another address or database has got nothing yet."""
        return hashlib.sha256(f"{self.url} {self.database} {self.org}".encode()).hexdigest()[:12]

    def is_same(self, other: Settings | None) -> bool:
        """Whether they mean one database."""
        return other is not None and self.identity == other.identity

    def _server(self, file: str) -> Server:
        return Server(url=self.url, database=self.database, org=self.org, credential=read_credential(file))


def folder(data: Path) -> Path:
    """What DATA holds of InfluxDB."""
    return data / "influx"


def load(data: Path) -> Settings | None:
    """What is known of InfluxDB here; None where there is none. ServerError: the file."""
    path = folder(data) / "server.json"
    try:
        return Settings(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as exc:
        raise ServerError(f"{path}: {exc}") from exc


def save(data: Path, settings: Settings) -> None:
    """For the programs that will ask."""
    write_private(folder(data) / "server.json", json.dumps(asdict(settings), indent=1) + "\n")


def choose(data: Path, url: str, *, database: str, org: str, write_file: Path | None, alone: bool) -> Settings:
    """Where measurements go from now on; what is not said ("" or None) stays as it was. ServerError: it is no address,
    or its file cannot be read."""
    url, known = check_url(url), load(data)
    if known is not None and known.url != url:
        known = None
    wanted = Settings(
        url=url,
        database=database or (known.database if known else DEFAULT_DATABASE),
        org=org or (known.org if known else ""),
        write_file=str(write_file.absolute()) if write_file else (known.write_file if known else ""),
        read_file=known.read_file if known else "",
        alone=alone,
    )
    wanted.writer()
    save(data, wanted)
    return wanted


def check_url(url: str) -> str:
    """The URL, less a slash at its end. ServerError: it is none, or holds a secret that belongs into a file."""
    parts = urlsplit(url)
    try:
        port_is_one = parts.port != 0
    except ValueError:
        port_is_one = False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_one or parts.query:
        raise ServerError(f"{url!r} is no address of an InfluxDB; http://HOST:8086 is one")
    if parts.username is not None:
        raise ServerError("the address holds a user; what speaks for us belongs into a file (--token-file)")
    return url.rstrip("/")


def read_credential(file: str) -> str:
    """A token or user:password, the only line of its file; "" for no file. ServerError: it cannot be read."""
    if not file:
        return ""
    try:
        text = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ServerError(f"{file}: {getattr(exc, 'strerror', None) or exc}") from exc
    if not text or not text.isascii() or any(not char.isprintable() for char in text):
        raise ServerError(f"{file}: one line is needed, a token or user:password")
    return text


def write_private(path: Path, text: str) -> None:
    """A file for this user alone, whole or as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
