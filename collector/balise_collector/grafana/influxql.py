"""How is an InfluxQL query said to Grafana's SDK, which has no type for InfluxDB?"""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.cog import builder, variants

SOURCE_TYPE = "influxdb"
SOURCE_UID = "balise-influxdb"
"""The data source that `deploy/grafana` provisions; alerts name it, dashboards let the reader choose."""


class InfluxQuery(variants.Dataquery):
    """One target of a panel, as the InfluxDB data source reads it in raw mode."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def to_json(self) -> dict[str, Any]:
        """What is None is not said."""
        return {name: value for name, value in self.fields.items() if value is not None}


class _Built(builder.Builder[InfluxQuery]):
    def __init__(self, query: InfluxQuery) -> None:
        self._query = query

    def build(self) -> InfluxQuery:
        return self._query


def raw(fields: dict[str, Any]) -> builder.Builder[InfluxQuery]:
    """A target of any form."""
    return _Built(InfluxQuery(**fields))


def influxql(
    text: str, *, ref: str = "A", uid: str = "${ds}", alias: str | None = None, table: bool = False
) -> builder.Builder[InfluxQuery]:
    """A raw query. ``ref``: its letter in the panel; ``uid``: of the data source."""
    return raw(
        {
            "refId": ref,
            "datasource": {"type": SOURCE_TYPE, "uid": uid},
            "query": text,
            "rawQuery": True,
            "resultFormat": "table" if table else "time_series",
            "alias": alias,
        }
    )
