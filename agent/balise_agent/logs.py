"""How does a line of the log look? ``warning probe_failed probe=dns reasons=timeout``: an event, then its fields.

Without a date: the service manager stamps each line.
"""

from __future__ import annotations

import logging
from typing import TextIO

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class EventFormatter(logging.Formatter):
    """Level, event and fields in one line; a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """See the module's first line."""
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        parts = [record.levelname.lower(), record.getMessage(), *(f"{k}={_shown(v)}" for k, v in fields.items())]
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def set_up(level: str, stream: TextIO) -> None:
    """Sends all logs of this process to ``stream`` from ``level`` on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EventFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _shown(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(' "=') else ascii(text)
