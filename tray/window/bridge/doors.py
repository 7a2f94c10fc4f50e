"""What stands behind the page: the seams of the dispatcher."""

from dataclasses import dataclass
from typing import Protocol

from gogrid.jointoken import JoinToken
from runner.control_messages import Answer, Ask, Settings
from tray.instance_messages import AppAnswer, AppAsk
from tray.window.bridge.calls import LogPiece


@dataclass(frozen=True, slots=True)
class JoinedAs:
    """What `runner join` says when it is done."""

    coordinator: str
    address: str
    worker: str
    pending: bool


class Worker(Protocol):
    def ask(self, question: Ask) -> Answer:
        """Raises `GoGridError`: no runner answers."""


class App(Protocol):
    def ask(self, question: AppAsk) -> AppAnswer:
        """Raises `GoGridError`: the app does not answer."""


class Errands(Protocol):
    """What needs a process of its own, or the network. Block for seconds; raise `GoGridError`."""

    def join(self, token: str, name: str) -> JoinedAs: ...

    def joined(self) -> bool:
        """This machine is a worker of some coordinator already."""

    def coordinator_name(self, token: JoinToken) -> str: ...

    def settings(self) -> Settings:
        """As the next runner would see them."""

    def change(self, setting: str, value: str) -> str:
        """For the next runner; returns when it counts, in words."""

    def open_folder(self, which: str) -> None: ...


class Logs(Protocol):
    def read(self, file: str, after: int) -> LogPiece:
        """Raises `GoGridError`: there is no such log."""


@dataclass(frozen=True, slots=True)
class Doors:
    worker: Worker
    app: App
    errands: Errands
    logs: Logs
    config: str
    """Where `config.toml` lies."""
    logs_folder: str
