"""Is Balise itself well: can what it shows be believed?"""

from __future__ import annotations

from balise_collector.grafana.board import Board, Panel, Query, Row, Text
from balise_collector.grafana.queries import PLATFORM


def _curve(
    field: str, title: Text, meaning: Text, unit: str, *, what: str = 'last("{field}")', width: int = 12
) -> Panel:
    asked = what.format(field=field)
    return Panel(
        kind="curve",
        title=title,
        meaning=meaning,
        queries=(
            Query(
                text=f"SELECT {asked} FROM {PLATFORM} WHERE $timeFilter"
                ' GROUP BY time($__interval), "target" fill(null)',
                alias=Text("$tag_target", "$tag_target"),
            ),
        ),
        unit=unit,
        width=width,
        step="1m",
    )


_BEAT = Panel(
    kind="table",
    title=Text("Dernier signe de vie de chaque partie", "Last sign of life of each part"),
    meaning=Text(
        "Chaque partie du collecteur écrit toutes les minutes. Une ligne dont l'heure vieillit est une partie morte.",
        "Each part of the collector writes every minute. A line whose time grows old is a dead part.",
    ),
    queries=(
        Query(
            text=f'SELECT last("lag_rows") AS "lag_rows" FROM {PLATFORM} WHERE time > now() - 1d GROUP BY "target"',
            table=True,
        ),
        Query(
            text=f'SELECT last("messages") AS "messages" FROM {PLATFORM} WHERE time > now() - 1d GROUP BY "target"',
            table=True,
        ),
    ),
    columns=(
        ("Time", Text("Dernier signe", "Last sign"), "dateTimeAsIso"),
        ("target", Text("Partie", "Part"), "string"),
        ("lag_rows", Text("Retard (lignes)", "Lag (rows)"), "short"),
        ("messages", Text("Messages", "Messages"), "short"),
    ),
)

BOARD = Board(
    uid="balise-platform",
    title=Text("Balise 9 – Plateforme", "Balise 9 – Platform"),
    question=Text(
        "Balise va-t-elle bien : peut-on croire ce qu'elle montre ?", "Is Balise well: can what it shows be believed?"
    ),
    rows=(
        Row(
            title=Text("Vie et retard", "Life and lag"),
            panels=(
                _BEAT,
                _curve(
                    "lag_s",
                    Text("Retard des consommateurs", "Lag of the consumers"),
                    Text(
                        "Âge de la plus vieille ligne que chacun n'a pas lue : cinq minutes alertent. influx : ce"
                        " qu'InfluxDB refuse ou n'a pas encore ; judge : l'évaluateur.",
                        "Age of the oldest row that each has not read: five minutes alert. influx: what InfluxDB"
                        " refuses or has not yet; judge: the evaluator.",
                    ),
                    "s",
                ),
            ),
        ),
        Row(
            title=Text("Ce qui entre", "What comes in"),
            panels=(
                _curve(
                    "messages",
                    Text("Messages par seconde", "Messages a second"),
                    Text("Messages gardés, dérivée du compteur.", "Messages kept, the counter's derivative."),
                    "reqps",
                    what='non_negative_derivative(last("{field}"), 1s)',
                    width=6,
                ),
                _curve(
                    "duplicates",
                    Text("Doublons absorbés", "Duplicates absorbed"),
                    Text("Messages reçus deux fois, depuis le démarrage.", "Messages received twice, since the start."),
                    "short",
                    width=6,
                ),
                _curve(
                    "dead_letters",
                    Text("Quarantaine", "Quarantine"),
                    Text("Messages que l'on ne peut pas lire, gardés.", "Messages that cannot be read, kept."),
                    "short",
                    width=6,
                ),
                _curve(
                    "orphans",
                    Text("Sans logement ou sans date", "Without a home or a date"),
                    Text(
                        "Messages gardés à part, faute de logement ou de date.",
                        "Messages kept apart for want of a home or a date.",
                    ),
                    "short",
                    width=6,
                ),
            ),
        ),
        Row(
            title=Text("Le disque", "The disk"),
            panels=(
                _curve(
                    "bytes",
                    Text("Taille du journal", "Size of the journal"),
                    Text("Octets des fichiers du journal.", "Bytes of the journal's files."),
                    "bytes",
                ),
                _curve(
                    "disk_free_kb",
                    Text("Place libre", "Free space"),
                    Text("Sur le système de fichiers des données.", "On the file system of the data."),
                    "deckbytes",
                ),
            ),
        ),
    ),
    choices=(),
)
