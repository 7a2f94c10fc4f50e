"""How far a worker is with getting its engine, in words for its owner and for the coordinator. Pure."""

from dataclasses import dataclass
from enum import Enum

from gogrid.sizes import format_size
from runner.control_messages import EngineState


class Stage(Enum):
    REST = "rest"
    """Nothing is to be done, or nothing was looked for yet."""
    ASKING = "asking"
    WAITING = "waiting"
    """It may not fetch now; `sentence` says why, unless it is that the coordinator is not reached."""
    FETCHING = "fetching"
    UNPACKING = "unpacking"
    READY = "ready"
    """It is here; this process starts anew to use it."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class EngineProgress:
    stage: Stage = Stage.REST
    lacking: bool = False
    """This worker has no engine at all meanwhile."""
    sentence: str = ""
    """Why it waits or failed."""
    arrived: int = 0
    size: int = 0
    """Bytes."""

    @property
    def percent(self) -> int:
        return min(100, 100 * self.arrived // self.size) if self.size else 0

    @property
    def trouble(self) -> bool:
        """Somebody has to do something."""
        return self.stage is Stage.FAILED and self.lacking

    @property
    def words(self) -> str:
        """For the machine's owner: `fetching its engine: 42 % of 322 MB`. Empty: nothing worth saying."""
        engine = "its engine" if self.lacking else "a newer engine"
        match self.stage:
            case Stage.FETCHING:
                return f"fetching {engine}: {self.percent} % of {format_size(self.size)}"
            case Stage.UNPACKING:
                return f"unpacking {engine}"
            case Stage.READY:
                return f"{engine} is here; the worker starts anew with it as soon as nothing runs"
            case Stage.ASKING if self.lacking:
                return "no engine yet: asking the coordinator for one"
            case Stage.WAITING if self.lacking:
                return f"no engine yet: {self.sentence or 'the coordinator is not reached'}"
            case Stage.FAILED:
                return f"no engine: {self.sentence}" if self.lacking else f"no newer engine: {self.sentence}"
            case _:
                return ""

    @property
    def note(self) -> str:
        """For the coordinator: only what keeps this worker from models."""
        if not self.lacking:
            return ""
        if self.stage is Stage.FETCHING:
            return f"no engine yet: fetching ({self.percent} %)"
        if self.stage is Stage.WAITING and not self.sentence:
            return "no engine yet"
        if not self.words or self.words.startswith("no engine"):
            return self.words
        return f"no engine yet: {self.words}"

    @property
    def state(self) -> EngineState:
        """For the icon; empty: no engine is lacking, or nothing is done about it."""
        if not self.note:
            return ""
        return "missing" if self.trouble else "coming"
