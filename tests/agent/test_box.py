"""Is a box found again, told of in the catalogue's words, and silent about what it carried?"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from balise_agent.codec import check_record
from balise_agent.contract import OK, Record, failed
from balise_agent.probes import box as probe
from balise_agent.probes.box import Box, BoxSettings, interface_bytes, run
from balise_agent.probes.context import Context
from tests.agent import boxes


def context(box: Box | None = None) -> Context:
    return Context(
        now_bt_ms=lambda: 1,
        monotonic=lambda: 0.0,
        rng=random.Random(1),
        rows_waiting=lambda: 0,
        clock_ok=lambda: True,
        state_dir=Path("/"),
        box=box,
    )


def settings(box: boxes.Box) -> BoxSettings:
    return BoxSettings(host="127.0.0.1", ssdp_port=box.ssdp_port)


def once(given: BoxSettings, box: Box | None = None) -> Record:
    (record,) = asyncio.run(run(given, context(box)))
    assert check_record(record) is None
    return record


def test_how_its_way_out_is_becomes_a_record_without_a_byte_of_its_counters() -> None:
    with boxes.running(boxes.Box()) as there:
        there.says["NewTotalBytesReceived"] = "424242"
        record = once(settings(there))
    assert record.outcome == OK
    assert record.fields == {
        "via": "upnp",
        "wan_status": "connected",
        "wan_uptime_s": 3600,
        "link_up": True,
        "counters": "none",
    }
    assert "424242" not in str(record)


def test_what_the_gate_found_of_its_counters_is_told() -> None:
    known = Box()
    known.counters_are = "wrong"
    with boxes.running(boxes.Box()) as there:
        assert once(settings(there), known).fields["counters"] == "wrong"


def test_a_box_that_hears_no_search_and_one_that_answers_no_question_fail_each_in_its_way() -> None:
    with boxes.running(boxes.Box(location="nowhere")) as there:
        assert once(settings(there)).outcome == failed("no_upnp")
    mute = boxes.Box()
    mute.answer = lambda request: b"" if request.startswith(b"POST") else None
    with boxes.running(mute) as there:
        assert once(settings(there)).outcome == failed("no_answer")


def test_its_counters_are_asked_without_another_search_and_one_that_moved_is_found_again() -> None:
    async def count(box: Box, given: BoxSettings) -> probe.Bytes | None:
        for _ in range(30):  # one answer has a second: on a machine that is busy it may be the next
            if (found := await box.bytes(given)) is not None:
                return found
        return None

    async def both() -> tuple[probe.Bytes | None, probe.Bytes | None]:
        box = Box()
        with boxes.running(boxes.Box()) as first:
            one = await count(box, settings(first))
            described = sum(request.startswith(b"GET") for request in first.requests)
        assert described >= 1
        with boxes.running(boxes.Box()) as second:
            second.says["NewTotalBytesSent"] = "7"
            return one, await count(box, settings(second))

    assert asyncio.run(both()) == ((1000, 500), (1000, 7))


def test_where_the_agent_lives_in_the_box_its_interface_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "wan0/statistics"
    folder.mkdir(parents=True)
    (folder / "rx_bytes").write_text("12\n")
    (folder / "tx_bytes").write_text("34\n")
    assert interface_bytes("wan0", tmp_path) == (12, 34)
    assert interface_bytes("wan1", tmp_path) is None
    record = once(BoxSettings(placement="box", wan_interface="lo"))
    assert (record.fields["via"], record.fields["link_up"]) == ("interface", True)


def test_while_a_test_runs_the_box_itself_is_watched_towards_the_home() -> None:
    async def play() -> None:
        box = Box()
        given = BoxSettings(placement="box", wan_interface="lo", lan_interface="lo")
        before, others = await box.bytes(given), await box.of_others(given)
        assert before is not None
        assert others is not None
        assert others[0] >= before[1]
        assert others[1] >= before[0]
        assert await box.of_others(BoxSettings(placement="box", wan_interface="lo")) is None

    asyncio.run(play())
