"""When the memory guard looks again. A core: what is held and what is lent in, seconds out.

Promises: whoever goes over a cap between two looks is found over twice, and has to go, within a second. Who may fill a
cap at a stroke (a GPU's memory is handed out in one call) or has a limit of its own (a script) is looked at every
`SAMPLE_EVERY_S`; so are all when half of the cap is used. Before that a look less often is enough: each costs the
owner a millisecond of a processor, and a model waits in memory for hours.
"""

from runner.sandbox.memory_watch import SAMPLE_EVERY_S

SELDOM_S = 0.7
"""And `SAMPLE_EVERY_S` later the second look."""
_NEAR = 0.5
"""Of the cap."""


def next_look_s(*, used: int, cap: int, hasty: bool) -> float:
    """Seconds from one look to the next.

    Args:
        used: bytes that all sandboxes held at the last look.
        cap: bytes that they may use together.
        hasty: somebody is watched who cannot wait, or was not looked at yet.
    """
    return SAMPLE_EVERY_S if hasty or used >= cap * _NEAR else SELDOM_S
