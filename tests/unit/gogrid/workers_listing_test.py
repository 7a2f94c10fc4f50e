"""`gogrid workers` where a machine joined again: the new one can be told from the old one."""

from gogrid.client.answers import Worker
from gogrid.client.commands.listings import told_apart
from gogrid.moments import shown_moment

JOINED = 1_790_000_000.0


def worker(id: str, name: str, joined_at: float | None = JOINED) -> Worker:
    return Worker(
        id=id, name=name, status="approved", connected=True, readiness="ready", reason="ready", joined_at=joined_at
    )


def test_the_same_name_twice_comes_with_as_much_of_the_id_as_tells_them_apart_and_when_each_joined() -> None:
    again = worker("wk_aaaa2222", "den", JOINED + 90_000)
    found = [worker("wk_aaaa1111", "den"), again, worker("wk_bbbb3333", "attic")]
    day, next_day = (shown_moment(at, "%Y-%m-%d %H:%M") for at in (JOINED, JOINED + 90_000))
    assert told_apart(found) == [
        f"den (wk_aaaa1, joined {day})", f"den (wk_aaaa2, joined {next_day})", "attic",
    ]  # fmt: skip


def test_what_tells_nothing_apart_and_an_older_coordinator_are_no_error() -> None:
    assert told_apart([]) == []
    assert told_apart([worker("wk", "x", None), worker("wk_1", "x", None)]) == ["x (wk)", "x (wk_1)"]
