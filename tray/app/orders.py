"""What a click in the menu asks of the running worker. Pure."""

from datetime import datetime

from runner.control_messages import Ask, AskChange, AskPause, AskResume
from tray.icon.messages import Action, Kind
from tray.until import until_tomorrow

_HOUR_S = 3600.0
FINISHING = "taking nothing new, as its owner asked"


def order(action: Action, now: datetime) -> Ask | None:
    """None: it is no order for the worker.

    Args:
        now: with its time zone.
    """
    match action.kind:
        case Kind.PAUSE:
            until = {"hour": now.timestamp() + _HOUR_S, "tomorrow": until_tomorrow(now).timestamp()}
            return AskPause(until=until.get(action.value, 0.0))
        case Kind.FINISH:
            return AskPause(reason=FINISHING, finish=True)
        case Kind.RESUME:
            return AskResume()
        case Kind.CHANGE:
            setting, _, value = action.value.partition("=")
            return AskChange(setting=setting, value=value)
    return None
