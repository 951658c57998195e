"""Does a power cut take anything that was promised, and would these tests see it?"""

from __future__ import annotations

import random

from tests.faults.disk import Disk, Op
from tests.faults.powercut import power_cuts

SEED = 20_260


def test_of_500_disks_as_a_power_cut_leaves_them_none_lacks_what_was_promised() -> None:
    result = power_cuts(500, SEED)
    assert (result.lost, result.wrong) == (0, 0), result.examples
    assert sum(result.states.values()) == 500
    assert result.promises > 10_000


def test_without_syncs_promises_are_lost_so_a_loss_is_seen() -> None:
    result = power_cuts(40, SEED, sync=False)
    assert result.lost > 100


def test_what_was_synced_is_there_and_the_rest_in_any_part() -> None:
    disk = Disk()
    for op in (
        Op(kind="make", path="a", file=1),
        Op(kind="write", file=1, offset=0, data=b"1" * 2048),
        Op(kind="sync", file=1),
        Op(kind="sync_folder", path=""),
        Op(kind="write", file=1, offset=0, data=b"2" * 4096),
        Op(kind="make", path="b", file=2),
    ):
        disk.do(op)
    seen = [disk.after_cut(random.Random(seed)) for seed in range(300)]
    contents = {content for files in seen if (content := files["a"])}
    assert {b"1" * 2048, b"2" * 4096} <= contents
    assert any(set(content) == set(b"12") for content in contents)
    assert all(content[n : n + 512] in (b"1" * 512, b"2" * 512) for content in contents for n in range(0, 2048, 512))
    assert {"b" in files for files in seen} == {True, False}
