"""What does a table show for the words that the judge and the probes write? The same in the reader's language.

By the column's name. A code that is not here is shown as it is; a test holds the judge's own words to this table.
"""

from __future__ import annotations

from collections.abc import Mapping

from balise_collector.grafana.board import Text

_STAGES = {
    "suspected": Text("soupçonné", "suspected"),
    "open": Text("ouvert", "open"),
    "recovering": Text("se rétablit", "recovering"),
    "closed": Text("fini", "closed"),
    "reviewed": Text("fini, cause connue", "closed, cause known"),
}
_CAUSES = {
    "unknown": Text("inconnue", "unknown"),
    "fibre": Text("fibre coupée", "fibre cut"),
    "home_fibre": Text("fibre du logement", "the home's fibre"),
    "power": Text("coupure de courant", "power cut"),
    "core": Text("cœur de réseau", "operator's core"),
    "box": Text("box", "box"),
    "dns": Text("résolveurs (DNS)", "resolvers (DNS)"),
    "upstream": Text("au-delà de l'opérateur", "beyond the operator"),
    "target": Text("cible de mesure", "measuring target"),
    "head_end": Text("tête de réseau TV", "TV head-end"),
    "multicast": Text("diffusion TV dans l'immeuble", "the building's multicast"),
    "network": Text("réseau", "network"),
    "registrar": Text("serveur de téléphonie", "telephone registrar"),
    "account": Text("compte téléphonique", "telephone account"),
    "audio": Text("voix dans un seul sens", "one-way audio"),
    "path": Text("chemin de la voix", "the voice's path"),
    "loss": Text("pertes", "loss"),
    "congestion": Text("saturation", "congestion"),
    "provisioning": Text("débit mal réglé", "provisioned too slow"),
    "bufferbloat": Text("file d'attente trop longue", "bufferbloat"),
    "works": Text("travaux", "works"),
    "platform": Text("Balise elle-même", "Balise itself"),
    "delivery": Text("transport des messages", "messages held up"),
    "withdrawn": Text("retiré : ce n'en était pas un", "withdrawn: it was none"),
}
_CONFIDENCE = {
    "sure": Text("sûr", "sure"),
    "probable": Text("probable", "probable"),
    "undecided": Text("indécis", "undecided"),
}
_KINDS = {"microcut": Text("microcoupure", "microcut"), "outage": Text("coupure", "outage")}
_CLASSES = {
    "lan.link": Text("câble de la sonde", "the probe's cable"),
    "home.box_or_lan": Text("box ou réseau du logement", "box or home network"),
    "access.wan": Text("accès de la box", "the box's access"),
    "access.line": Text("ligne d'accès", "access line"),
    "operator.core": Text("cœur de réseau", "operator's core"),
    "operator.server": Text("serveur de l'opérateur", "operator's server"),
    "upstream": Text("au-delà de l'opérateur", "beyond the operator"),
    "dns": Text("résolveurs (DNS)", "resolvers (DNS)"),
    "unplaced": Text("lieu inconnu", "place not known"),
}
_OUTCOMES = {
    "ok": Text("réussi", "ok"),
    "failed": Text("échoué", "failed"),
    "skipped": Text("non fait", "skipped"),
}
_SERVICES = {
    f"building:{service}": text
    for service, text in {
        "internet": Text("Internet", "Internet"),
        "television": Text("Télévision", "Television"),
        "telephone": Text("Téléphone", "Telephone"),
        "probe": Text("Sondes", "Probes"),
    }.items()
}

WORDS: Mapping[str, Mapping[str, Text]] = {
    "state": _STAGES,
    "cause": _CAUSES,
    "confidence": _CONFIDENCE,
    "kind": _KINDS,
    "class": _CLASSES,
    "outcome": _OUTCOMES,
    "service": _SERVICES,
}
"""Of a column of text by its name, or by what stands for its unit."""
