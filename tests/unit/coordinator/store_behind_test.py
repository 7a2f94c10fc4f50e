"""The write-behind buffer: bounded, ordered, nothing lost by a failed write."""

from coordinator.records import JobKind, JobOutcome, JobState, LogLine, NewJob
from coordinator.store.behind import Behind, PendingLines, PendingRequest
from gogrid.ids import JobId, KeyId
from gogrid.protocol.tasks import PythonTask


def request(number: int) -> PendingRequest:
    task = PythonTask(files=(), entry="a.py")
    new = NewJob(JobId(f"job_{number}"), KeyId("k"), JobKind.CHAT, task, "m", 1.0)
    return PendingRequest(new, None, JobOutcome(JobState.DONE), 2.0)


def lines(number: int, size: int = 10) -> PendingLines:
    return PendingLines(JobId("job_1"), 1, (LogLine(number, "stdout", b"x" * size),))


def test_a_disk_that_stands_still_costs_bounded_memory() -> None:
    behind = Behind(max_requests=10, max_line_bytes=1000)
    for number in range(100):
        behind.add_request(request(number))
        behind.add_lines(lines(number, 100))
    requests, waiting = behind.take()
    assert [pending.job.id for pending in requests] == [f"job_{number}" for number in range(90, 100)]
    assert len(waiting) == 5
    assert behind.dropped == 90 + 95


def test_what_failed_to_be_written_waits_in_front() -> None:
    behind = Behind(max_requests=3)
    behind.add_request(request(1))
    behind.add_lines(lines(1))
    behind.take()
    behind.add_request(request(2))
    behind.add_lines(lines(2))
    behind.again()
    assert [line.seq for pending in behind.lines_of(JobId("job_1")) for line in pending.lines] == [1, 2]
    requests, _ = behind.take()
    assert [pending.job.id for pending in requests] == ["job_1", "job_2"]


def test_lines_being_written_are_still_readable_and_count() -> None:
    behind = Behind(max_line_bytes=250)
    behind.add_lines(lines(1, 50))
    behind.take()
    behind.add_lines(lines(2, 50))
    assert behind.dropped == 1
    assert len(behind.lines_of(JobId("job_1"))) == 1
    behind.done()
    behind.add_lines(lines(3, 50))
    assert [line.seq for pending in behind.lines_of(JobId("job_1")) for line in pending.lines] == [3]
