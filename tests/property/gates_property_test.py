"""Whatever is seen, in whatever order: no gate flutters, and the worker may work exactly if every gate is open."""

from dataclasses import replace
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from runner.gates.gates import Gates
from runner.gates.latch import Latch
from runner.gates.observation import MachineSeen, OwnerSeen
from runner.gates.schedule import next_opening, open_now, parse_schedule
from runner.gates.settings import GateSettings

LOCAL = datetime(2026, 11, 23, 12, 0)
SETTINGS = GateSettings(exclusive_apps=("game",), max_temperature=80, schedule=parse_schedule("11:00-13:00"))
shares = st.sampled_from([None, 0.0, 0.3, 0.45, 0.51, 0.9])
answers = st.sampled_from([None, False, True])
machines = st.builds(
    MachineSeen,
    screen_kept_on=answers,
    fullscreen=answers,
    on_battery=answers,
    programs=st.sampled_from([None, frozenset(), frozenset({"game"})]),
    others_gpu=shares,
    others_gpu_memory=shares,
    others_cpu=shares,
    temperatures=st.sampled_from([{}, {"GPU": 70.0}, {"GPU": 77.0}, {"GPU": 81.0}]),
)
steps = st.tuples(st.floats(0.05, 20), machines, st.sampled_from([None, 0.0, 179.0, 181.0]))
NOTHING = MachineSeen()


@given(
    st.floats(0, 30), st.floats(0, 60), st.lists(st.tuples(st.floats(0.01, 10), st.booleans()), min_size=1, max_size=60)
)
def test_a_latch_never_changes_faster_than_it_may(
    close_after: float, open_after: float, seen: list[tuple[float, bool]]
) -> None:
    latch, now, was, changed = Latch(close_after, open_after), 0.0, False, 0.0
    for step, bad in seen:
        now += step
        if latch.seen(bad, now) != was:
            was = not was
            assert bad is was
            assert now - changed >= (close_after if was else open_after)
            changed = now


@given(st.lists(steps, min_size=1, max_size=30))
def test_the_verdict_is_what_each_gate_would_say_alone(seen: list[tuple[float, MachineSeen, float | None]]) -> None:
    """Ten judges that see one thing each, and one that sees everything."""
    fields = ("screen_kept_on", "fullscreen", "programs", "on_battery", "others_gpu", "others_gpu_memory", "others_cpu")
    together, alone = Gates(), {name: Gates() for name in (*fields, "temperatures", "owner")}
    now = 1000.0
    for step, machine, idle_s in seen:
        now += step
        owner = OwnerSeen(now, idle_s) if idle_s is not None else None
        said = together.judge(SETTINGS, owner, machine, now, LOCAL)
        parts: list[str] = list(alone["owner"].judge(SETTINGS, owner, NOTHING, now, LOCAL))
        for name in (*fields, "temperatures"):
            part = replace(NOTHING, **{name: getattr(machine, name)})
            parts += alone[name].judge(SETTINGS, None, part, now, LOCAL)
        assert sorted(said) == sorted(parts)
        assert len(set(said)) == len(said)


TEXTS = (
    "mon-fri 18:00-08:00", "sun 03:00-03:01", "10:00-12:00; 13:00-14:00", "fri-mon 22:00-06:00, wed 00:00-24:00",
)  # fmt: skip


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.sampled_from(TEXTS))
def test_outside_its_hours_a_worker_knows_when_they_begin(local: datetime, text: str) -> None:
    hours = parse_schedule(text)
    if not open_now(hours, local):
        assert next_opening(hours, local)
