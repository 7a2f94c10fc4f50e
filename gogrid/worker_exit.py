"""The exit statuses of a worker's programs: the one language in which a runner that has ended still speaks.

`gogrid-worker` itself ends with the first three and with `NOT_JOINED`; the others are what the runner tells the
supervisor. A new meaning takes a new number: scripts and service managers of machine owners compare them.
"""

from enum import IntEnum


class WorkerExit(IntEnum):
    DONE = 0
    REFUSED = 1
    """Something is wrong or was refused. Python ends with it after a crash, so the supervisor counts it as a crash."""
    CANNOT_RUN = 2
    """Wrong usage, or starting it again would not help."""
    NOT_JOINED = 3
    """It belongs to no coordinator yet."""
    TURNED_AWAY = 4
    """Its coordinator refuses it for good."""
    START_ANEW = 5
    """It has another engine now and wants to be started with it at once."""
