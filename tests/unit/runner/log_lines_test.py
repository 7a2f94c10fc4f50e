"""Who reads the runner's log may stop, or be slow: the runner does not wait for it."""

import logging
import os
import threading
from contextlib import suppress

from runner.log_lines import LineQueue, logging_to


def read_all(descriptor: int) -> str:
    with open(descriptor, "rb") as file:
        return file.read().decode()


def fill(pipe: int) -> None:
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"." * 1024)
    os.set_blocking(pipe, True)


def test_lines_come_in_order_and_the_last_before_the_end() -> None:
    reads, writes = os.pipe()
    with logging_to(writes, "INFO"):
        for number in range(300):
            logging.getLogger("runner.test").info("line %d", number)
        logging.getLogger("runner.test").debug("not wanted")
    os.close(writes)
    lines = read_all(reads).splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == [f"line {number}" for number in range(300)]
    assert " INFO runner.test: " in lines[0]
    logging.getLogger().setLevel(logging.WARNING)


def test_a_supervisor_that_reads_nothing_does_not_freeze_the_runner_and_is_told_what_it_missed() -> None:
    reads, writes = os.pipe()
    fill(writes)
    log = logging.Logger("runner.test")
    handler = LineQueue(writes, kept=50)
    log.addHandler(handler)

    def speak() -> None:
        for number in range(1000):
            log.warning("%d %s", number, "x" * 1000)

    speaking = threading.Thread(target=speak, daemon=True)
    speaking.start()
    speaking.join(5)
    assert not speaking.is_alive(), "a full pipe held the runner up"
    handler.end(longest_s=0.1)
    taken = b""
    while not handler._waiting.empty():
        taken += os.read(reads, 65536)
    log.warning("after")
    handler.end()
    os.close(writes)
    said = taken.decode() + read_all(reads)
    dropped = [int(line.split()[0]) for line in said.splitlines() if "lines of this log were dropped" in line]
    assert sum(dropped) > 900
    assert sum(dropped) + said.count("xxx\n") == 1000
    assert said.endswith("after\n")


def test_a_reader_that_is_gone_ends_nothing() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    log = logging.Logger("runner.test")
    handler = LineQueue(writes)
    log.addHandler(handler)
    log.warning("nobody hears this")
    log.warning("%d", "no number")
    handler.end()
    assert not handler._writer.is_alive()
    os.close(writes)
