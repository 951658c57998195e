"""What did a damaged copy come to?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """``wrong``: rules that were broken; ``missing``: originals that are gone; ``said``: that some are was reported.

    ``is_prefix``: what is left is what had stood there at some earlier moment. ``restarts``: times that the file was
    found malformed while it was used, so that the program ended and began again.
    """

    wrong: tuple[str, ...] = ()
    missing: int = 0
    said: bool = False
    is_prefix: bool = True
    restarts: int = 0
