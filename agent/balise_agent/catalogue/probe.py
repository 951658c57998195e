"""What does a probe tell of itself?"""

from __future__ import annotations

from balise_agent.catalogue.schema import Measurement, field

HOST = Measurement(
    name="host",
    meaning="Health of the probe itself.",
    target="",
    source="proc(5); Raspberry Pi firmware's get_throttled",
    retention="raw_90d",
    fields=(
        field("cpu_pct", "float", "%", "CPU used by the whole machine since the last record, all cores together = 100"),
        field("mem_available_kb", "int", "kB", "memory available without swapping"),
        field("mem_total_kb", "int", "kB", "memory in all"),
        field("agent_rss_kb", "int", "kB", "resident memory of the agent"),
        field("agent_cpu_pct", "float", "%", "CPU used by the agent since the last record, one core = 100"),
        field("temp_c", "float", "Cel", "temperature of the processor"),
        field("under_voltage", "bool", "1", "supply voltage too low now; absent: not known on this machine"),
        field("throttled", "bool", "1", "processor slowed down now; absent: not known on this machine"),
        field("disk_free_kb", "int", "kB", "free on the file system that holds the state"),
        field("uptime_s", "int", "s", "since the machine started"),
        field("agent_uptime_s", "int", "s", "since the agent started"),
        field("rows_waiting", "int", "1", "records and messages not yet acknowledged by the collector"),
        field("clock_ok", "bool", "1", "the clock is synchronised; absent: not known"),
        field("clock_error_ms", "float", "ms", "kernel's bound of the clock's offset from UTC; absent: it has none"),
    ),
)

GAP = Measurement(
    name="gap",
    meaning="Messages that the probe had to drop or found damaged: an honest hole, delivered like any record.",
    target="",
    source="Balise",
    retention="raw_90d",
    fields=(
        field("stream", "str", "", "stream of the missing messages"),
        field("from_seq", "int", "1", "first missing message"),
        field("to_seq", "int", "1", "last missing message"),
        field("messages", "int", "1", "messages missing in that range"),
        field("records", "int", "1", "records missing that were not yet in a message"),
        field("why", "str", "", "size_bound, age_bound, damaged_row, damaged_file, erased"),
        field("last_c", "str", "", "chain value of to_seq, so that the chain can be followed over the hole"),
    ),
)

AGENT_EVENT = Measurement(
    name="agent_event",
    meaning="Something that the agent did or met and that explains its records.",
    target="what happened: started, stopped, clock_set, clock_stepped, config_applied, config_refused, probe_broken, …",
    source="Balise",
    retention="raw_90d",
    fields=(
        field("detail", "str", "", "one line in English for the operator; never a value of the tenant"),
        field("version", "str", "", "version of the agent, or of the configuration concerned"),
        field("step_ms", "int", "ms", "clock_stepped, clock_set: by how much wall time moved"),
    ),
)

COMMAND = Measurement(
    name="command",
    meaning="Progress of one command of the operator.",
    target="",
    source="Balise",
    retention="raw_90d",
    fields=(
        field("id", "str", "", "identifier of the command"),
        field("kind", "str", "", "test, replay, pause, resume"),
        field("state", "str", "", "accepted, running, done, refused, expired"),
        field("detail", "str", "", "one line in English for the operator"),
    ),
)

MEASUREMENTS = (HOST, GAP, AGENT_EVENT, COMMAND)
