"""The running worker and the app behind the icon, over their local sockets."""

from pathlib import Path

from runner.control_messages import Answer, Ask
from tray.control_client import ask
from tray.instance import ask_app
from tray.instance_messages import AppAnswer, AppAsk


class RunningWorker:
    """Implements `doors.Worker`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, question: Ask) -> Answer:
        return ask(self._path, question)


class RunningApp:
    """Implements `doors.App`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, question: AppAsk) -> AppAnswer:
        return ask_app(self._path, question)
