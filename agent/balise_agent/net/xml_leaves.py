"""What are the elements of a small XML document, by their local names and in order of their ends?

Rule 1: total and bounded: any bytes give a list, or None where they are not XML that is wanted.
Rule 2: no document type, so no entities: nothing is expanded, and nothing is fetched.
"""

from __future__ import annotations

from xml.parsers import expat

MOST_DEPTH = 32
MOST_ELEMENTS = 4_096
MOST_TEXT = 1_024  # of one element: a URL


class _UnwantedError(Exception):
    """Deeper, longer or other than a box's description is."""


def leaves(document: bytes) -> list[tuple[str, str]] | None:
    """(local name, text) of each element when it ends."""
    found: list[tuple[str, str]] = []
    texts: list[list[str]] = []

    def start(_name: str, _attributes: object) -> None:
        if len(texts) >= MOST_DEPTH or len(found) + len(texts) >= MOST_ELEMENTS:
            raise _UnwantedError
        texts.append([])

    def end(name: str) -> None:
        text = "".join(texts.pop()).strip()
        found.append((name.rpartition(":")[2], text))

    def data(text: str) -> None:
        if texts and sum(map(len, texts[-1])) + len(text) <= MOST_TEXT:
            texts[-1].append(text)

    def refuse(*_: object) -> None:
        raise _UnwantedError

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, _UnwantedError, ValueError, LookupError):  # an encoding that is unknown
        return None
    return found
