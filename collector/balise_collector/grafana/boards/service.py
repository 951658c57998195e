"""How is one service of the whole fleet, now and over the period?"""

from __future__ import annotations

from balise_collector.grafana.board import Panel, Query, Text
from balise_collector.grafana.queries import BAD, KNOWN, elements, now, share


def homes_now(service: str, title: Text, meaning: Text) -> Panel:
    """Homes by their last state."""
    queries = tuple(Query(text=text, alias=word) for text, word in now(service))
    return Panel(kind="figure", title=title, meaning=meaning, queries=queries, width=8, height=6)


def down_and_coverage(service: str, title: Text) -> Panel:
    """The share of homes without the service, beside the share of which it is known."""
    return Panel(
        kind="curve",
        title=title,
        meaning=Text(
            "Logements coupés parmi ceux dont on sait l'état ; couverture : part des logements dont on le sait.",
            "Homes down among those whose state is known; coverage: the share of homes of which it is known.",
        ),
        queries=(
            Query(text=share(BAD, f"fleet:{service}", every="$__interval"), alias=Text("coupés", "down")),
            Query(text=share(KNOWN, f"fleet:{service}", every="$__interval"), alias=Text("couverture", "coverage")),
        ),
        unit="percentunit",
        high=1,
        width=8,
        height=6,
    )


def source_of(scope: str, title: Text) -> Panel:
    """The state of what gives the service to all."""
    return Panel(
        kind="states",
        title=title,
        meaning=Text("Leur état selon le juge, écrit toutes les cinq minutes.", "Their state as the judge says."),
        queries=(Query(text=elements(scope, "target"), alias=Text("$tag_target", "$tag_target")),),
        scale="state",
        width=8,
        height=6,
    )
