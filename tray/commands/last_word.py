"""Why the worker that ran here last was given up: from its log, where that is the last that happened.

Promises: a worker that was stopped, one that was started again and one that has joined anew since had no last word.
"""

import re

from gogrid.places import WorkerPlaces

_LAST_BYTES = 8192
_GIVEN_UP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d supervisor: (.+)")
_SPEAKS = "gogrid-worker: "


def last_word(places: WorkerPlaces) -> str:
    """One sentence; empty: none is known."""
    log = places.logs / "worker.log"
    try:
        with log.open("rb") as file:
            written = file.seek(0, 2)
            file.seek(max(0, written - _LAST_BYTES))
            text = file.read().decode("utf-8", errors="replace")
        if places.membership.exists() and places.membership.stat().st_mtime > log.stat().st_mtime:
            return ""
    except OSError:
        return ""
    return given_up(text)


def given_up(log: str) -> str:
    """Args: log: its end. The worker says why it ends, and the one that supervises it repeats that when it gives up."""
    *_, said, repeated = ("", "", *log.splitlines())
    found = _GIVEN_UP.fullmatch(repeated)
    return found[1] if found is not None and said == _SPEAKS + found[1] else ""
