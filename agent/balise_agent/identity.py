"""Who is this agent, to the broker and in its messages?

Rule 1: a password is in no message and no log; a password file that others may read is refused.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from balise_agent.config import AgentConfig, ConfigError
from balise_agent.contract import token
from balise_agent.settings import Secret

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MOST_PASSWORD_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """``probe``: its id, in every topic, and its client id. ``boot``: changes with each start of the machine."""

    probe: str
    boot: str
    username: str | None = None
    password: Secret | None = None


def identify(config: AgentConfig, boot_id_file: Path = _BOOT_ID) -> Identity:
    """Who the configuration and this machine say it is, or ConfigError."""
    boot = boot_token(boot_id_file.read_bytes())
    return Identity(probe=config.probe.id, boot=boot, username=config.broker.username, password=_password(config))


def boot_token(boot_id: bytes) -> str:
    """Names one start of the machine: 11 characters that tell nothing of the kernel's id."""
    return token(hashlib.sha256(boot_id.strip()).digest()[:8])


def _password(config: AgentConfig) -> Secret | None:
    if config.broker.password_file is None:
        return config.broker.password
    path = Path(config.broker.password_file)
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(_MOST_PASSWORD_BYTES).decode().rstrip("\r\n")
    except OSError as exc:
        raise _fault(f"{path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise _fault(f"{path}: byte {exc.start} is not UTF-8") from None  # the cause would show the bytes
    if mode & 0o077:
        raise _fault(f"{path}: mode {mode:04o} lets others read it; 0600 is allowed")
    if not text:
        raise _fault(f"{path}: is empty")
    return Secret(text)


def _fault(what: str) -> ConfigError:
    return ConfigError((f"broker.password_file: {what}",))
