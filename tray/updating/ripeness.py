"""When a version that lies ready is switched to without a click, and when to look at that again. Pure.

Promises: a switch happens only while the coordinator is reached, and by a version that has proved itself; with an icon
its owner decides, unless the version that runs is unsafe or the new one lay ready at the start; running jobs are waited
for, but not for ever; a version that failed here once is not tried again at once.
"""

from dataclasses import dataclass, field

from updates.client.schedule import Rhythm

_EXPECTED_S = 180.0
"""After the start a coordinator is expected at any moment."""


@dataclass(frozen=True, slots=True)
class Waits:
    """In seconds."""

    rhythm: Rhythm = field(default_factory=Rhythm)
    look: float = 0.5
    """While something is about to happen."""
    soon: float = 2.0
    """While a machine that nobody watches has something ready."""
    idle: float = 10.0
    jobs_end: float = 120.0
    """Before jobs that still run are moved."""
    unattended: float = 3600.0
    """Nobody watches: a machine that always works is not waited for any longer."""
    after_failure: float = 3600.0
    """Before a version that failed here once is tried again without being asked for."""


@dataclass(frozen=True, slots=True)
class ReadyVersion:
    """What is known of the version that lies ready."""

    waited_s: float
    """Since it was found."""
    found_at_start: bool = False
    """It lay there when this program began."""
    failed_once: bool = False
    """Its first trial on this machine failed."""
    urgent: bool = False
    """The version that runs now is revoked or unsafe."""


def ripe(ready: ReadyVersion, waits: Waits, *, proved: bool, reached: bool, attended: bool, busy: bool) -> bool:
    """Whether to switch without being asked.

    Args:
        proved: the version that runs has reached its coordinator, or belongs to none.
        reached: the worker is connected to its coordinator now.
        attended: it has an icon with "Restart to update" in its menu.
        busy: jobs run.
    """
    if not proved or not reached:
        return False
    if ready.failed_once and ready.waited_s < waits.after_failure:
        return False
    wanted = not attended or ready.urgent or ready.found_at_start
    return wanted and (not busy or ready.waited_s >= waits.unattended)


def next_look_s(
    waits: Waits, *, proved: bool, runs_for_s: float, anything_ready: bool, attended: bool, check_in_s: float
) -> float:
    """Seconds until the next look.

    Args:
        runs_for_s: since this program began.
        check_in_s: until updates are asked for; negative: it is overdue.
    """
    if not proved and runs_for_s < _EXPECTED_S:
        return waits.look
    if anything_ready and not attended:
        return waits.soon
    return max(waits.look, min(waits.idle, check_in_s))
