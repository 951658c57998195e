"""How is a Grafana asked over its HTTP API, and what do its refusals mean to an operator?

A thin adapter of grafana-api: what that library raises becomes one line that says what to do.

Rule 1: the token is never printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import requests
from grafana_api.grafana_api import GrafanaException
from grafana_api.grafana_face import GrafanaFace

OLDEST = (10, 4)
"""What the SDK's dashboards need: it says >= 10 works, 12 is recommended; `folderUid` was settled by 10.4."""
ANSWER_S = 20.0

_MEANINGS = {
    401: "the token is not valid: make one of a service account (Administration > Service accounts, role Editor)",
    403: "the token may not do this: its service account needs the role Editor",
    404: "not found: is this the root of Grafana's address?",
    412: "somebody changed it meanwhile: run the command again",
}


class GrafanaError(Exception):
    """What cannot be done with a Grafana, in one line for its operator. ``status``: its answer's, 0: there was none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


def open_grafana(url: str, token: str) -> GrafanaFace:
    """A session; nothing is asked yet. GrafanaError: the address is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise GrafanaError(f"{url!r} is no address of a Grafana; https://grafana.example.net is one")
    path = parts.path.strip("/")
    return GrafanaFace(
        auth=token,
        host=parts.hostname,
        port=parts.port,
        protocol=parts.scheme,
        url_path_prefix=f"{path}/" if path else "",
        timeout=ANSWER_S,
    )


def check_version(grafana: GrafanaFace) -> str:
    """The version of this Grafana. GrafanaError: it is too old, or it is none."""
    with refusals("its version"):
        found = grafana.api.GET("/health")
    said = str(found.get("version", "")) if isinstance(found, dict) else ""
    numbers = re.match(r"(\d+)\.(\d+)", said)
    if not numbers:
        raise GrafanaError("this is no Grafana: its /api/health names no version")
    if tuple(map(int, numbers.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise GrafanaError(f"this Grafana is {said}: the dashboards need {oldest} or later")
    return said


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turns what the libraries raise into GrafanaError."""
    try:
        yield
    except GrafanaException as exc:
        raise GrafanaError(f"{what}: {_words(exc)}", exc.status_code) from exc
    except requests.Timeout as exc:
        raise GrafanaError(f"{what}: no answer within {ANSWER_S:g} s") from exc
    except requests.JSONDecodeError as exc:
        raise GrafanaError(f"{what}: the answer is no JSON: is this the address of a Grafana?") from exc
    except requests.RequestException as exc:
        raise GrafanaError(f"{what}: cannot be reached ({_reason(exc)})") from exc


def _words(exc: GrafanaException) -> str:
    said: Any = exc.response.get("message") if isinstance(exc.response, dict) else exc.response
    meaning = _MEANINGS.get(exc.status_code)
    if meaning is None and exc.status_code >= 500:
        meaning = "Grafana failed: its log says why; run the command again"
    told = " ".join(str(said or "").split())[:200]
    return f"{exc.status_code} {told}".strip() + (f" ({meaning})" if meaning else "")


def _reason(exc: requests.RequestException) -> str:
    text = str(exc)
    return next((word for word in ("refused", "resolution", "certificate") if word in text), type(exc).__name__)
