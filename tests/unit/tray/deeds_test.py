"""What a click brings about, with a real socket behind it: the owner hears what was done otherwise than they expect."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from gogrid.places import worker_places
from runner.control import ControlServer
from runner.control_messages import Answer, Ask, Done, Refused
from tray.app.deeds import Deeds
from tray.app.icon_process import AppIcon
from tray.app.watch import Watch
from tray.app.window_process import AppWindow
from tray.autostart.base import Autostart
from tray.icon.messages import Action, Kind, Note
from tray.supervision.restart import Life, Phase
from tray.supervision.supervisor import Supervisor

NOTE = "The pause cannot be kept: No space left on device. It holds now, but only until this worker ends."


class Notes:
    """Where notifications would appear."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def note(self, note: Note) -> None:
        self.shown.append(note.text)


@asynccontextmanager
async def clicked(answer: Answer, action: Action) -> AsyncIterator[tuple[Notes, list[str]]]:
    """The notifications and the log after a click that the worker answers like this."""

    async def respond(question: Ask) -> Answer:
        return answer

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "d"
        places = worker_places(config=None, data=data, environment={}, platform="linux", home=data, user=0)
        server, notes, log = ControlServer(places.control, respond), Notes(), list[str]()
        await server.open()
        nobody = cast(Supervisor, None), cast(AppWindow, None), cast(Autostart, None)
        watch = Watch(places, lambda: Life(Phase.RUNS), window=True)
        deeds = Deeds(watch, *nobody, cast(AppIcon, notes), None, log.append)
        deeds.perform(action)
        await deeds.close()
        yield notes, log
        await server.close()
        await asyncio.sleep(0)


async def test_a_pause_that_is_not_kept_is_told_to_who_ordered_it_from_the_menu() -> None:
    async with clicked(Done(note=NOTE), Action(Kind.PAUSE, "hour")) as (notes, log):
        assert (notes.shown, log) == ([NOTE], [NOTE])


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (Done(), []),
        (Done(note="Wrote worker.max_vram = 50%; it counts at once.", counts="now"), []),
        (Done(note="It does not count as long as GOGRID_MAX_VRAM is given.", counts="no"), ["It does not count"]),
        (Refused(reason="The pause cannot be kept."), ["The pause cannot be kept"]),
    ],
    ids=["done", "counts", "overruled", "refused"],
)
async def test_what_went_as_expected_makes_no_noise(answer: Answer, shown: list[str]) -> None:
    async with clicked(answer, Action(Kind.CHANGE, "worker.max_vram=50%")) as (notes, _):
        assert [text[: len(begun)] for text, begun in zip(notes.shown, shown, strict=True)] == shown
