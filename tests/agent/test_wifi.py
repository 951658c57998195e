"""Is the radio link read from what `iw` prints, and nothing of who is on the air?"""

from __future__ import annotations

from pathlib import Path

from balise_agent.codec import check_record
from balise_agent.contract import Record
from balise_agent.probes.wifi import Counts, is_radio, read

STATION = """Station 02:00:5e:10:00:01 (on wlan0)
\tinactive time:\t12 ms
\trx bytes:\t1234567
\trx packets:\t4321
\ttx bytes:\t765432
\ttx packets:\t2100
\ttx retries:\t87
\ttx failed:\t3
\trx drop misc:\t5
\tsignal:  \t-61 [-63, -65] dBm
\tsignal avg:\t-60 [-62, -64] dBm
\ttx bitrate:\t585.1 MBit/s VHT-MCS 7 80MHz short GI VHT-NSS 2
\trx bitrate:\t6.0 MBit/s
\tauthorized:\tyes
"""
INFO = """Interface wlan0
\tifindex 3
\taddr 02:00:5e:10:00:02
\tssid channel 13 (9999 MHz)
\ttype managed
\tchannel 36 (5180 MHz), width: 80 MHz, center1: 5210 MHz
\ttxpower 20.00 dBm
"""


def test_its_strength_rates_and_channel_are_fields_of_the_catalogue() -> None:
    fields, counts = read(STATION, INFO)
    assert fields == {
        "rssi_dbm": -61,
        "tx_bitrate_bps": 585_100_000,
        "rx_bitrate_bps": 6_000_000,
        "freq_mhz": 5180,
    }
    assert counts == {"tx_packets": 2100, "retries": 87, "tx_failed": 3}
    assert check_record(Record(measurement="wifi", bt_ms=1, fields=fields | counts)) is None


def test_counts_are_of_the_time_since_the_last_record_and_begin_anew_with_an_association() -> None:
    counts = Counts()
    assert counts.since({"retries": 87, "tx_packets": 2100}) == {}
    assert counts.since({"retries": 90, "tx_packets": 2200}) == {"retries": 3, "tx_packets": 100}
    assert counts.since({"retries": 1, "tx_packets": 10}) == {}
    assert counts.since({"retries": 2, "tx_packets": 30}) == {"retries": 1, "tx_packets": 20}


def test_one_that_is_not_associated_says_nothing() -> None:
    assert read("", INFO) == ({}, {})
    assert read("\0" * 99, "channel") == ({}, {})


def test_a_cable_is_no_radio(tmp_path: Path) -> None:
    (tmp_path / "wlan0/phy80211").mkdir(parents=True)
    (tmp_path / "eth0").mkdir()
    assert [is_radio(name, tmp_path) for name in ("wlan0", "eth0", "-")] == [True, False, False]
