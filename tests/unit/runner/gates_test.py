"""Every gate, with the sentence its owner reads, and how long it takes to change its mind."""

from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.gates.gates import UNSEEN, UNSEEN_AFTER_S, Gates
from runner.gates.observation import MachineSeen, OwnerSeen
from runner.gates.pace import HELD, RESTING, WORKING, pace
from runner.gates.schedule import parse_schedule
from runner.gates.settings import GateSettings

MONDAY = datetime(2026, 11, 23, 12, 0)
CALM = MachineSeen(
    screen_kept_on=False, fullscreen=False, on_battery=False, programs=frozenset(), others_gpu=0.0,
    others_gpu_memory=0.0, others_cpu=0.0, temperatures={"GPU": 40.0, "processor": 40.0},
)  # fmt: skip
STRICT = GateSettings(exclusive_apps=("game.exe", "blender"), max_temperature=80)


class Watched:
    """Gates, and the time."""

    def __init__(self, settings: GateSettings = STRICT) -> None:
        self.gates, self.settings, self.now = Gates(), settings, 1000.0

    def see(self, machine: MachineSeen = CALM, idle_s: float | None = 9999.0, after: float = 0.0) -> tuple[str, ...]:
        self.now += after
        owner = OwnerSeen(self.now, idle_s) if idle_s is not None else None
        return self.gates.judge(self.settings, owner, machine, self.now, MONDAY)

    def see_for(self, seconds: float, machine: MachineSeen) -> tuple[str, ...]:
        end, said = self.now + seconds, self.see(machine)
        while self.now < end:
            said = self.see(machine, after=1.0)
        return said


SENTENCES: dict[str, tuple[MachineSeen, float, float]] = {
    "a video or a call keeps the screen on": (replace(CALM, screen_kept_on=True), 0, 20),
    "a full-screen program is running": (replace(CALM, fullscreen=True), 0, 10),
    "game.exe is running": (replace(CALM, programs=frozenset({"game.exe"})), 0, 10),
    "on battery": (replace(CALM, on_battery=True), 0, 10),
    "other programs used 60% of the GPU (50% allowed)": (replace(CALM, others_gpu=0.6), 10, 30),
    "other programs held 60% of the GPU's memory (50% allowed)": (replace(CALM, others_gpu_memory=0.6), 5, 30),
    "other programs used 60% of the processor (50% allowed)": (replace(CALM, others_cpu=0.6), 10, 30),
    "the GPU reached 81 °C (80 °C allowed)": (replace(CALM, temperatures={"GPU": 81.0, "processor": 50.0}), 5, 60),
    "the processor reached 90 °C (80 °C allowed)": (replace(CALM, temperatures={"processor": 90.0}), 5, 60),
}
"""What is seen, after how many seconds the gate closes, and after how many calm ones it opens."""


def test_a_calm_machine_whose_owner_is_away_works() -> None:
    assert Watched().see() == ()


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_gate_closes_opens_and_says_why(sentence: str) -> None:
    seen, close_after, open_after = SENTENCES[sentence]
    w = Watched()
    w.see()
    if close_after:
        assert w.see_for(close_after - 1, seen) == ()
        assert w.see(seen, after=1.0) == (sentence,)
    else:
        assert w.see(seen) == (sentence,)
    assert w.see_for(open_after - 1, CALM) == (sentence,)
    assert w.see(after=1.0) == ()


def test_the_owners_input_closes_at_once_and_its_absence_opens_after_the_time_they_set() -> None:
    w = Watched(GateSettings(activity_idle_s=180))
    assert w.see(idle_s=179.9) == ("the computer is in use",)
    assert w.see(idle_s=180.0) == ()
    assert w.see(idle_s=0.0) == ("the computer is in use",)
    assert w.see(idle_s=None) == ()


def test_a_look_at_the_owner_grows_old() -> None:
    """It is compared with the time of the judgement, not of the look: a slow look must not hide three minutes."""
    w = Watched()
    seen = OwnerSeen(w.now, 175.0)
    assert w.gates.judge(w.settings, seen, CALM, w.now + 4, MONDAY) == ("the computer is in use",)
    assert w.gates.judge(w.settings, seen, CALM, w.now + 6, MONDAY) == ()


def test_a_desktop_that_does_not_answer_any_more_is_not_taken_for_an_idle_one() -> None:
    w = Watched()
    away = OwnerSeen(w.now, 9999.0)
    assert w.gates.judge(w.settings, away, CALM, w.now + UNSEEN_AFTER_S, MONDAY) == ()
    assert w.gates.judge(w.settings, away, CALM, w.now + UNSEEN_AFTER_S + 1, MONDAY) == (UNSEEN,)


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        (replace(STRICT, pause_on_activity=False), replace(CALM, screen_kept_on=True)),
        (replace(STRICT, pause_on_fullscreen=False), replace(CALM, fullscreen=True)),
        (replace(STRICT, run_on_battery=True), replace(CALM, on_battery=True)),
        (replace(STRICT, max_other_load=1.0), replace(CALM, others_gpu=1.0, others_gpu_memory=1.0, others_cpu=1.0)),
        (replace(STRICT, max_temperature=0), replace(CALM, temperatures={"GPU": 110.0})),
    ],
)
def test_what_the_owner_allows_holds_at_once_even_behind_a_closed_gate(
    settings: GateSettings, seen: MachineSeen
) -> None:
    w = Watched()
    assert w.see_for(12, seen) != ()
    w.settings = settings
    assert w.see(seen, idle_s=0.0 if not settings.pause_on_activity else 9999.0) == ()


def test_what_cannot_be_seen_holds_nobody_up() -> None:
    assert Watched().see_for(100, MachineSeen()) == ()


def test_a_load_around_its_limit_does_not_flutter() -> None:
    w = Watched()
    assert w.see_for(10, replace(CALM, others_cpu=0.55)) != ()
    assert w.see_for(60, replace(CALM, others_cpu=0.45)) != ()
    assert w.see_for(30, replace(CALM, others_cpu=0.39)) == ()
    assert w.see_for(60, replace(CALM, others_cpu=0.45)) == ()


def test_a_part_cools_by_five_degrees_before_work_goes_on() -> None:
    w = Watched()
    assert w.see_for(5, replace(CALM, temperatures={"GPU": 81.0})) == ("the GPU reached 81 °C (80 °C allowed)",)
    assert w.see_for(200, replace(CALM, temperatures={"GPU": 76.0})) == ("the GPU reached 81 °C (80 °C allowed)",)
    assert w.see_for(60, replace(CALM, temperatures={"GPU": 75.0})) == ()


def test_the_number_told_is_the_one_that_closed_the_gate_and_stays() -> None:
    """A number that followed every look would change the menu, and be reported, every two seconds."""
    w = Watched()
    for share in (0.62, 0.97, 0.71):
        assert w.see_for(4, replace(CALM, others_cpu=share)) == () or share == 0.71
    said = ("other programs used 71% of the processor (50% allowed)",)
    for share in (0.9, 0.45, 0.63, 1.0):
        assert w.see_for(3, replace(CALM, others_cpu=share)) == said
    assert w.see_for(31, CALM) == ()
    assert w.see_for(10, replace(CALM, others_cpu=0.83)) == ("other programs used 83% of the processor (50% allowed)",)


def test_another_limit_is_another_cause() -> None:
    w = Watched()
    w.see_for(10, replace(CALM, others_cpu=0.7))
    w.settings = replace(STRICT, max_other_load=0.6)
    assert w.see(replace(CALM, others_cpu=0.9)) == ("other programs used 90% of the processor (48% allowed)",)


def test_a_number_above_its_limit_is_never_shown_as_the_limit() -> None:
    w = Watched()
    seen = replace(CALM, others_cpu=0.5004, others_gpu=0.57, temperatures={"GPU": 80.2})
    assert w.see_for(12, seen) == (
        "other programs used 57% of the GPU (50% allowed)",
        "other programs used 51% of the processor (50% allowed)",
        "the GPU reached 81 °C (80 °C allowed)",
    )


_STEPS = st.tuples(
    st.sampled_from([1.0, 4.0, 12.0, 40.0]),
    st.builds(
        lambda cpu, gpu, warm, hot, battery: replace(
            CALM, others_cpu=cpu, others_gpu=gpu, temperatures={"GPU": warm, "processor": hot}, on_battery=battery
        ),
        st.floats(0.3, 1.0),
        st.floats(0.3, 1.0),
        st.floats(70.0, 95.0),
        st.floats(70.0, 95.0),
        st.booleans(),
    ),
)


@given(st.lists(_STEPS, max_size=40))
def test_numbers_make_no_sentence_change_that_would_not_change_without_them(
    steps: list[tuple[float, MachineSeen]],
) -> None:
    """Each change is a report to the coordinator and a menu drawn anew."""
    w = Watched()
    said = [w.see(seen, after=after) for after, seen in steps]
    for before, now in pairwise(said):
        assert (before == now) == (_bare(before) == _bare(now))


def _bare(sentences: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("".join(character for character in one if not character.isdigit()) for one in sentences)


def test_all_reasons_are_told_the_owner_first() -> None:
    w = Watched(replace(STRICT, schedule=parse_schedule("18:00-08:00")))
    seen = replace(CALM, on_battery=True, fullscreen=True, programs=frozenset({"blender", "game.exe"}))
    assert w.see(seen, idle_s=1.0) == (
        "the computer is in use",
        "a full-screen program is running",
        "blender is running",
        "game.exe is running",
        "on battery",
        "outside its hours: until 18:00",
    )


def test_looks_come_often_only_while_there_is_something_to_give_back() -> None:
    assert pace(held=False, busy=True) == pace(held=True, busy=True) == WORKING
    assert (pace(held=True, busy=False), pace(held=False, busy=False)) == (HELD, RESTING)
    assert WORKING.owner_s <= 0.2
