"""Jepsen's total-queue, over a client's log: nothing acknowledged is lost, nothing completes that nobody asked for,
nothing is completed twice.

- lost: acknowledged, but never seen to end as it has to (one that ended otherwise is lost too: its work was not done);
- unexpected: completed, but never attempted;
- duplicated: more than one accepted completion. That shows as two jobs for one operation, as two marks of one job (the
  result was replaced), or as two attempts of which the coordinator recorded that it took the result.

Pure: entries in, verdict out.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tests.faults.client_log import Accepted, Acknowledged, AnyEntry, Attempted, Completed, Streamed

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    attempted: int
    acknowledged: int
    completed: int
    lost: int
    duplicated: int
    unexpected: int
    examples: tuple[str, ...] = ()
    """Some of what is wrong, in words."""

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.lost, self.duplicated, self.unexpected

    @property
    def clean(self) -> bool:
        return self.counts == (0, 0, 0)


def check(entries: Iterable[AnyEntry]) -> Verdict:
    """Judge a whole log; entries may come in any order."""
    expected: dict[str, str] = {}
    jobs: defaultdict[str, set[str]] = defaultdict(set)
    ends: defaultdict[str, dict[tuple[str, str], Completed]] = defaultdict(dict)
    epochs: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
    for entry in entries:
        match entry:
            case Attempted():
                expected[entry.op] = entry.expected
            case Acknowledged():
                jobs[entry.op].add(entry.job)
            case Completed():
                ends[entry.op][entry.job, entry.mark] = entry
            case Accepted():
                epochs[entry.op].add((entry.job, entry.epoch))
            case Streamed():
                pass
    lost = {op: _lost(op, expected, ends) for op in jobs}
    unexpected = sorted((set(jobs) | set(ends) | set(epochs)) - set(expected))
    duplicated = {op: _duplicated(jobs[op], ends[op], epochs[op]) for op in {*jobs, *ends, *epochs}}
    words = [
        *(f"lost: {op} {why}" for op, why in lost.items() if why),
        *(f"duplicated: {op} {why}" for op, why in duplicated.items() if why),
        *(f"unexpected: {op} was never attempted" for op in unexpected),
    ]
    return Verdict(
        attempted=len(expected),
        acknowledged=len(jobs),
        completed=len(ends),
        lost=sum(bool(why) for why in lost.values()),
        duplicated=sum(bool(why) for why in duplicated.values()),
        unexpected=len(unexpected),
        examples=tuple(words[:_EXAMPLES]),
    )


def streams(entries: Iterable[AnyEntry]) -> list[Streamed]:
    """Every streamed answer of a log."""
    return [entry for entry in entries if isinstance(entry, Streamed)]


def _lost(op: str, expected: dict[str, str], ends: dict[str, dict[tuple[str, str], Completed]]) -> str:
    seen = ends.get(op)
    if not seen:
        return "was acknowledged and never completed"
    wanted = expected.get(op, "done")
    wrong = next((end for end in seen.values() if end.state != wanted), None)
    return f"({wrong.job}) ended {wrong.state} instead of {wanted}: {wrong.why}" if wrong else ""


def _duplicated(jobs: set[str], ends: dict[tuple[str, str], Completed], epochs: set[tuple[str, int]]) -> str:
    every = jobs | {job for job, _ in ends} | {job for job, _ in epochs}
    if len(every) > 1:
        return f"became {len(every)} jobs: {', '.join(sorted(every))}"
    if len(ends) > 1:
        return f"was completed {len(ends)} times: {', '.join(sorted(mark for _, mark in ends))}"
    if len(epochs) > 1:
        return f"had its result taken of {len(epochs)} leases: {', '.join(str(epoch) for _, epoch in sorted(epochs))}"
    return ""
