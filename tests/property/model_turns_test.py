"""Whose turn memory is: for any loads and requests no cap is broken, nobody is cut off or starves, nothing thrashes."""

from dataclasses import dataclass, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gogrid.ids import Sha256
from runner.models.residence import Claim, Resident, Turns, plan, turn_ends, unused

TURNS = Turns()
_STEP_S = 0.25
names = st.integers(0, 8).map(lambda number: Sha256(f"{number:064x}"))
sizes = st.integers(0, 100)
times = st.floats(0, 1000)
residents = st.lists(
    st.builds(
        Resident, names, sizes, st.integers(0, 2), times, st.none() | times, st.floats(0, 60), st.booleans(),
        st.booleans(),
    ),
    max_size=6,
    unique_by=lambda one: one.digest,
)  # fmt: skip
claims = st.lists(
    st.builds(Claim, st.integers(10, 20).map(lambda number: Sha256(f"{number:064x}")), sizes, times),
    max_size=4,
    unique_by=lambda one: one.digest,
)


@settings(deadline=None)
@given(residents, claims, st.integers(0, 500), sizes, st.floats(1000, 2000))
def test_the_owners_cap_holds_and_models_that_serve_or_have_their_turn_stay(
    there: list[Resident], wanted: list[Claim], cap: int, held: int, now: float
) -> None:
    what = plan(there, wanted, cap, held, now, TURNS)
    size = {claim.digest: claim.memory_bytes for claim in wanted}
    used = held + sum(one.memory_bytes for one in there)
    assert not what.start or used + sum(size[digest] for digest in what.start) <= cap
    for one in there:
        if one.digest in what.close:
            assert one.users == 0
            assert one.ready_at is not None
            assert turn_ends(one, TURNS) <= now
        if one.digest in what.giving_way:
            assert turn_ends(one, TURNS) <= now
    for digest in what.refused:
        assert size[digest] + held > cap
    if what.look_again is not None:
        assert what.look_again > now


@settings(deadline=None)
@given(residents, times, st.floats(1, 100))
def test_only_unused_models_are_closed_for_being_unused(there: list[Resident], since: float, idle_s: float) -> None:
    now = 1000 + since
    closing = unused(there, now, idle_s)
    for one in there:
        idle = one.users == 0 and not one.closing and now - one.last_used >= idle_s
        assert (one.digest in closing) == idle


def test_the_longest_unused_model_goes_first() -> None:
    there = [Resident(Sha256(f"{n:064x}"), 40, 0, last, 0.0, 1.0) for n, last in enumerate((30.0, 10.0, 20.0))]
    what = plan(there, [Claim(Sha256("f" * 64), 40, 90.0)], 120, 0, 100.0, TURNS)
    assert what.close == (there[1].digest,)


def test_a_large_model_is_not_passed_for_ever_by_small_ones() -> None:
    """Starvation: what is free is kept for whoever asked first."""
    busy = Resident(Sha256("0" * 64), 60, 1, 0.0, 0.0, 1.0)
    large, small = Claim(Sha256("a" * 64), 90, 1.0), Claim(Sha256("b" * 64), 30, 2.0)
    what = plan([busy], [small, large], 100, 0, 500.0, TURNS)
    assert (what.start, what.giving_way) == ((), frozenset({busy.digest}))


def test_a_choice_to_give_way_stays() -> None:
    """Two models in use whose order of last use keeps changing: the one that was chosen drains."""
    one = Resident(Sha256("0" * 64), 60, 1, 20.0, 0.0, 1.0, giving_way=True)
    other = Resident(Sha256("1" * 64), 60, 1, 10.0, 0.0, 1.0)
    what = plan([one, other], [Claim(Sha256("a" * 64), 50, 1.0)], 120, 0, 500.0, TURNS)
    assert what.giving_way == {one.digest}


@dataclass
class _Machine:
    """One worker that runs by virtual time: loads take `load_s`, each request takes `serve_s`."""

    load_s: float
    serve_s: float
    now: float = 0.0
    resident: Resident | None = None
    loads: int = 0

    def run(self, until: float, arrive_every: float) -> list[tuple[Sha256, float]]:
        """Two models that do not fit together, both asked for all the time; waits of every request."""
        models = (Sha256("a" * 64), Sha256("b" * 64))
        waiting: dict[Sha256, list[float]] = {model: [] for model in models}
        running: list[float] = []
        waits: list[tuple[Sha256, float]] = []
        next_arrival = 0.0
        while self.now < until:
            while next_arrival <= self.now:
                for model in models:
                    waiting[model].append(next_arrival)
                next_arrival += arrive_every
            running = [end for end in running if end > self.now]
            one = self.resident
            if one is not None and one.ready_at is not None and one.ready_at <= self.now:
                one = self.resident = replace(one, users=len(running))
            claims = [
                Claim(model, 60, since[0])
                for model, since in waiting.items()
                if since and (one is None or model != one.digest)
            ]
            loading = one is not None and one.ready_at is not None and one.ready_at > self.now
            there = [] if one is None else [replace(one, ready_at=None) if loading else one]
            what = plan(there, claims, 100, 0, self.now, TURNS)
            if what.close:
                self.resident = None
            for digest in what.start:
                self.loads += 1
                self.resident = Resident(digest, 60, 0, self.now, self.now + self.load_s, self.load_s)
            if one is not None and not loading and one.digest not in what.giving_way and self.resident is one:
                for since in waiting[one.digest]:
                    waits.append((one.digest, self.now - since))
                    running.append(self.now + self.serve_s)
                if waiting[one.digest]:
                    self.resident = replace(one, last_used=self.now, users=len(running))
                    waiting[one.digest].clear()
            self.now += _STEP_S
        return waits


@settings(deadline=None, max_examples=20)
@example(load_s=1.0, serve_s=1.0, arrive_every=0.875)
@given(st.floats(0.2, 10), st.floats(0.3, 5), st.floats(0.3, 3))
def test_two_models_that_do_not_fit_do_not_thrash(load_s: float, serve_s: float, arrive_every: float) -> None:
    """A minute may not be spent on loading: a turn lasts longer than the load that it cost, and both have turns."""
    machine = _Machine(load_s, serve_s)
    until = 6 * (load_s + TURNS.turn_s(load_s))
    waits = machine.run(until, arrive_every)
    least = load_s + min(TURNS.turn_s(load_s), TURNS.patience_s(load_s))
    assert machine.loads <= until / least + 2
    if arrive_every + _STEP_S <= TURNS.patience_s(load_s):  # both are wanted without a pause, as seen at each step
        assert machine.loads <= until / (load_s + TURNS.turn_s(load_s)) + 2
    by_model = {model: [wait for name, wait in waits if name == model] for model, _ in waits}
    assert len(by_model) == 2
    longest = 2 * (load_s + TURNS.turn_s(load_s) + serve_s) + 2
    assert max(max(found) for found in by_model.values()) <= longest
