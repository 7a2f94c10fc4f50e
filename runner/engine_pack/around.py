"""What the keeper of the engine asks of the runner that it lives in: the seam between both."""

from collections.abc import Callable
from dataclasses import dataclass

from runner.engine_pack.progress import EngineProgress
from runner.models.blobs import Access


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the keeper asks of the runner that it lives in."""

    hold: Callable[[], str]
    """Why nothing may be fetched now, in words; empty: it may."""
    coordinator: Callable[[], Access | None]
    """None: it is not reached."""
    jobs: Callable[[], int]
    """How many run."""
    answered: Callable[[], bool]
    """Whether a model has answered in this process."""
    tell: Callable[[EngineProgress], None]
    restart: Callable[[], None]
    """End this process, so that it starts anew."""
