"""Which notifications the app shows. Pure.

Promises: none during normal work. By default only trouble that does not mend itself, and an update that is ready.
"""

from typing import Literal

from tray.app.state import View
from tray.icon.messages import Note
from tray.instance_messages import AppState
from tray.supervision.restart import Phase

Level = Literal["none", "trouble", "all"]


def note(before: View | None, after: View, level: Level) -> Note | None:
    """For the step from one view to the next; None: nothing to say."""
    if level == "none":
        return None
    if _given_up(after) and (before is None or not _given_up(before)):
        return Note(title="GoGrid needs you", text=after.sentence)
    if trouble := _settings_broke(before, after):
        return Note(title="GoGrid needs you", text=f"The settings stay as they were: {trouble}")
    update = after.known.update
    if update.state == "ready" and (before is None or before.known.update.state != "ready"):
        return Note(title="GoGrid", text=f"Version {update.version} is ready; restart to update.")
    if level != "all" or before is None or before.state is after.state:
        return None
    if after.state in (AppState.PAUSED, AppState.TROUBLE) or AppState.PAUSED is before.state:
        return Note(title="GoGrid", text=after.sentence)
    return None


def _settings_broke(before: View | None, after: View) -> str:
    """What is wrong with their file since the last view; empty: nothing, or it was so before."""
    if before is None or before.known.status is None or after.known.status is None:
        return ""
    return "" if before.known.status.settings_trouble else after.known.status.settings_trouble


def _given_up(view: View) -> bool:
    return view.known.life.phase is Phase.GIVEN_UP
