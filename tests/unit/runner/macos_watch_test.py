"""Who belongs to a job on a Mac, and when what they use ends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.probes.process_memory import FootprintMemory
from runner.sandbox.macos.watch import Caps, Ending, Kin, Process, Watch, decode_caps

JOB = 100


def table(*lines: tuple[int, int, int]) -> list[Process]:
    """(pid, parent, group) each; started at a time that follows from the id."""
    return [Process(1, 0, 1, 0.0), Process(50, 1, 50, 0.5), *(Process(*line, line[0] / 10) for line in lines)]


def test_group_and_descendants_belong() -> None:
    found = Kin(JOB).look(table((100, 50, 100), (101, 100, 100), (102, 101, 102), (103, 102, 102), (104, 50, 104)))
    assert found == {100, 101, 102, 103}


def test_guard_and_worker_do_not_belong() -> None:
    assert Kin(JOB).look(table((100, 50, 100), (51, 50, 50))) == {100}


def test_orphan_that_left_the_group_is_followed() -> None:
    """It was seen below the job once; its parent is gone and its group is its own now."""
    kin = Kin(JOB)
    kin.look(table((100, 50, 100), (101, 100, 100), (102, 101, 102)))
    assert kin.look(table((100, 50, 100), (102, 1, 102), (103, 102, 103))) == {100, 102, 103}
    assert kin.look(table((103, 1, 103))) == {103}


def test_reused_process_id_is_not_taken_for_the_old_one() -> None:
    kin = Kin(JOB)
    kin.look(table((100, 50, 100), (102, 100, 102)))
    again = [*table((100, 50, 100)), Process(102, 1, 102, 99.0)]
    assert kin.look(again) == {100}


def test_members_of_the_group_are_found_after_the_first_process_died() -> None:
    assert Kin(JOB).look(table((101, 1, 100))) == {101}


@given(st.lists(st.tuples(st.integers(101, 120), st.integers(99, 120)), unique_by=lambda line: line[0], max_size=20))
def test_descent_is_followed_through_any_table(lines: list[tuple[int, int]]) -> None:
    """Cycles in a torn table included; members are exactly what reaches the job upwards."""
    parents = {JOB: 50, **dict(lines)}

    def descends(pid: int) -> bool:
        seen: set[int] = set()
        while pid in parents and pid not in seen:
            if pid == JOB:
                return True
            seen.add(pid)
            pid = parents[pid]
        return False

    found = Kin(JOB).look(table((100, 50, 100), *((pid, parent, pid) for pid, parent in lines)))
    assert found == {pid for pid in parents if descends(pid)}


@pytest.mark.parametrize("ending", list(Ending))
def test_each_cap_ends_the_job_on_the_second_look_over_it(ending: Ending) -> None:
    watch = Watch(Caps(memory_bytes=10, processes=10, room_bytes=10))
    assert watch.seen({ending: 11}, 1.0) is None
    assert watch.seen({ending: 11}, 1.25) is ending


def test_one_look_over_a_cap_between_others_ends_nothing() -> None:
    watch = Watch(Caps(memory_bytes=10, processes=10, room_bytes=10))
    for step in range(10):
        assert watch.seen({Ending.MEMORY: 11 if step % 2 else 9}, step * 0.25) is None


def test_no_cap_ends_nothing() -> None:
    watch = Watch(Caps(memory_bytes=-1, processes=-1, room_bytes=-1))
    for step in range(4):
        assert watch.seen(dict.fromkeys(Ending, 1 << 60), step * 0.25) is None


def test_rarer_looks_at_the_room_count_too() -> None:
    watch = Watch(Caps(memory_bytes=10, processes=10, room_bytes=10))
    assert watch.seen({Ending.ROOM: 11, Ending.MEMORY: 1}, 1.0) is None
    assert watch.seen({Ending.MEMORY: 1}, 1.25) is None
    assert watch.seen({Ending.ROOM: 11, Ending.MEMORY: 1}, 2.0) is Ending.ROOM


def test_caps_cross_as_text() -> None:
    assert decode_caps(Caps(1, -1, 3).encode()) == Caps(1, -1, 3)
    with pytest.raises(ValueError, match="values to unpack"):
        decode_caps("1,2")


class Footprints:
    """A Mac's table with three processes."""

    def footprint(self, pid: int) -> int:
        return {1: 10, 2: 20, 3: 30}.get(pid, 0)


def test_memory_of_a_sandbox_on_a_mac_is_its_footprint() -> None:
    """The resident size holds neither compressed pages nor what Metal allocated."""
    assert FootprintMemory(Footprints()).bound((1, 3, 4)) == FootprintMemory(Footprints()).exact((1, 3, 4)) == 40
