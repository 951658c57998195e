"""What does mosquitto read at start, and which files belong to one broker?

Rule 1: `mosquitto -c FILE`, started by whoever made the file, is all that it takes.
Rule 2: no comment on a directive's own line: mosquitto takes it for a part of the value (measured on a path).
Rule 3: no `acl_file`: under it any device may join `$share/...` and swallow the collector's messages.
"""

from __future__ import annotations

import os
import pwd
import secrets
import stat
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from balise_agent.contract import MAX_WIRE_BYTES
from balise_collector.broker import dynsec

PLUGIN = "mosquitto_dynamic_security.so"
_PLUGIN_DIRS = ("/usr/lib64", "/usr/lib", "/usr/local/lib", "/opt/homebrew/lib", "/usr/local/lib64")
_DEBIAN_USER = "mosquitto"

# Queue limits bound the broker's memory; what it drops, the probe sends again. 0 is no limit in some versions only.
# A keep-alive of 300 s: a dead connection is known after 450 s at the latest, whatever a client asks for.
# A packet is a payload of the contract's size with its topic and properties.
_LIMITS = f"""\
max_queued_messages 100000
max_queued_bytes 268435456
max_inflight_messages 1000
max_packet_size {MAX_WIRE_BYTES + 1024}
max_keepalive 300
persistent_client_expiration 14d
set_tcp_nodelay true
"""


class BrokerError(Exception):
    """What does not work with the broker, in one line for its operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """``cafile`` given: a client shows a certificate of it, whose CN is its name; not given: it shows its password.

    ``crlfile``: certificates that are no longer taken; it needs ``cafile``.
    """

    certfile: Path
    keyfile: Path
    cafile: Path | None = None
    crlfile: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFiles:
    """The files of one broker, and where it listens. The two passwords stand each alone in a file of mode 0600."""

    directory: Path
    conf: Path
    dynsec: Path
    listen: str
    port: int
    certfile: Path | None
    asks_certificates: bool
    collector_username: str
    collector_password_file: Path
    fleet_username: str
    fleet_password_file: Path

    @property
    def host(self) -> str:
        """Where a program on this machine reaches it."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.listen, self.listen)  # noqa: S104


def init(
    directory: Path, *, port: int, listen: str = "127.0.0.1", tls: Tls | None = None, persistence: bool = True
) -> BrokerFiles:
    """Write configuration, dynamic-security file and passwords; what is there of the last two is kept.

    Persistence keeps sessions over an orderly restart; it is not what keeps records (that is each probe's outbox).
    """
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    passwords = {name: _password(directory / f"{name}.password") for name in (dynsec.COLLECTOR, dynsec.FLEET)}
    access = directory / "dynamic-security.json"
    if not access.exists():
        dynsec.create(access, collector_password=passwords["collector"], fleet_password=passwords["fleet"])
    user = runs_as(directory, tls)
    conf = directory / "mosquitto.conf"
    conf.write_text(configuration(directory, port=port, listen=listen, tls=tls, persistence=persistence, user=user))
    conf.chmod(0o644)
    _hand_over(user, directory, access)
    return load(directory)


def load(directory: Path) -> BrokerFiles:
    """The files that `init` made there."""
    conf = directory.absolute() / "mosquitto.conf"
    if not conf.exists():
        raise BrokerError(f"{conf}: no broker here; make one: balise broker init {directory}")
    said = dict(line.split(" ", 1) for line in conf.read_text().splitlines() if " " in line and line[0] != "#")
    port, listen = said["listener"].split()
    return BrokerFiles(
        directory=conf.parent,
        conf=conf,
        dynsec=conf.parent / "dynamic-security.json",
        listen=listen,
        port=int(port),
        certfile=Path(said["certfile"]) if "certfile" in said else None,
        asks_certificates=said.get("require_certificate") == "true",
        collector_username=dynsec.COLLECTOR,
        collector_password_file=conf.parent / f"{dynsec.COLLECTOR}.password",
        fleet_username=dynsec.FLEET,
        fleet_password_file=conf.parent / f"{dynsec.FLEET}.password",
    )


def configuration(directory: Path, *, port: int, listen: str, tls: Tls | None, persistence: bool, user: str) -> str:
    """mosquitto.conf. A client's id is its name, so that none can take another's session by asking for its id."""
    return "".join(
        [
            "# Written by `balise broker init`; that command writes it anew.\n",
            f"listener {port} {listen}\n",
            *_tls_lines(tls),
            "use_username_as_clientid true\n",
            "allow_anonymous false\n",
            f"plugin {find_plugin()}\n",
            f"plugin_opt_config_file {directory / 'dynamic-security.json'}\n",
            f"persistence {str(persistence).lower()}\n",
            f"persistence_location {directory}/\n",
            "autosave_interval 60\n",
            _LIMITS,
            f"user {user}\n",
            "log_dest stderr\n",
            "log_type error\nlog_type warning\nlog_type notice\n",
        ]
    )


def find_plugin() -> Path:
    """Its folder differs by architecture: on Debian /usr/lib/x86_64-linux-gnu, /usr/lib/aarch64-linux-gnu, ..."""
    multiarch = sysconfig.get_config_var("MULTIARCH")
    folders = ([f"/usr/lib/{multiarch}"] if multiarch else []) + list(_PLUGIN_DIRS)
    found = next((path for folder in folders if (path := Path(folder) / PLUGIN).exists()), None)
    if found is None:
        raise BrokerError(f"{PLUGIN} is in none of {', '.join(folders)}: install mosquitto (2.0 or later)")
    return found


def runs_as(directory: Path, tls: Tls | None = None) -> str:
    """The user that mosquitto becomes. Started by root it leaves root, if that user can then read all that it needs."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    try:
        user = pwd.getpwnam(_DEBIAN_USER)
    except KeyError:
        return "root"
    needed = [] if tls is None else [tls.certfile, tls.keyfile, *filter(None, (tls.cafile, tls.crlfile))]
    reachable = all(
        _may(user, parent, stat.S_IXOTH) for path in (directory, *needed) for parent in path.absolute().parents
    )
    return _DEBIAN_USER if reachable and all(_may(user, path, stat.S_IROTH) for path in needed) else "root"


def _may(user: pwd.struct_passwd, path: Path, right: int) -> bool:
    """Has this user the right, given as the bit that stands for others?"""
    found = path.stat()
    shift = 6 if found.st_uid == user.pw_uid else 3 if found.st_gid == user.pw_gid else 0
    return bool(found.st_mode & right << shift)


def _hand_over(user: str, *paths: Path) -> None:
    """The broker writes its sessions and the dynamic-security file: both are its user's."""
    if os.geteuid() == 0:
        owner = pwd.getpwnam(user)
        for path in paths:
            os.chown(path, owner.pw_uid, owner.pw_gid)


def _tls_lines(tls: Tls | None) -> Iterator[str]:
    if tls is None:
        return
    yield f"certfile {tls.certfile.absolute()}\nkeyfile {tls.keyfile.absolute()}\ntls_version tlsv1.2\n"
    if tls.cafile is not None:
        yield f"cafile {tls.cafile.absolute()}\nrequire_certificate true\nuse_identity_as_username true\n"
    if tls.crlfile is not None:
        yield f"crlfile {tls.crlfile.absolute()}\n"


def _password(path: Path) -> str:
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    return path.read_text().strip()
