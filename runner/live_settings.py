"""A running worker's settings: those in force, taken up again whenever their file has changed or somebody asks.

Promises: a change of the file is seen within a second, and so is a newly measured speed; settings that are wrong, or
lie on a disk that hangs, change nothing, and why is said for as long (`settings_source.py`); no look at the disk holds
up the event loop. What follows from changed settings is decided by `changed`.
"""

import asyncio
from collections.abc import Callable

from gogrid.errors import ConfigError
from gogrid.places import WorkerPlaces
from runner.aside import LONGEST_S, Aside, hangs_for
from runner.config import WorkerConfig
from runner.control_messages import Done, Refused, Settings
from runner.lookout import Lookout
from runner.settings_file import FileStamp
from runner.settings_source import SettingsSource
from runner.speed import speed_file
from runner.survey import taken_up
from runner.threads import in_thread


class LiveSettings:
    """Use from one event loop."""

    def __init__(
        self,
        source: SettingsSource,
        config: WorkerConfig,
        places: WorkerPlaces,
        *,
        changed: Callable[[WorkerConfig], None],
        measured: Callable[[], None],
    ) -> None:
        """
        Args:
            config: what `source` gave at the start.
            changed: told the settings as they were, once others are in force.
            measured: called when a speed was measured.
        """
        self._source, self._places, self._changed, self._measured = source, places, changed, measured
        self._aside = Aside()
        self.config = config
        """In force now."""

    @property
    def trouble(self) -> str:
        """Why they stay as they are, in words; empty: they need not."""
        return self._source.trouble

    async def watch(self) -> None:
        """Until cancelled."""
        lookout = Lookout(FileStamp(self._places.config), FileStamp(speed_file(self._places)))
        hung = False
        looking = asyncio.create_task(in_thread(lookout.until_changed, "settings watch"))
        try:
            while True:
                await asyncio.wait((looking,), timeout=LONGEST_S)
                if lookout.hangs(LONGEST_S):
                    self._source.stay(hangs_for(LONGEST_S))
                    hung = True
                    continue
                settings, speed = False, False
                if looking.done():
                    settings, speed = looking.result()
                    looking = asyncio.create_task(in_thread(lookout.until_changed, "settings watch"))
                if settings or hung:
                    await self.reload()
                if speed or hung:
                    self._measured()
                hung = False
        finally:
            looking.cancel()

    async def reload(self) -> str:
        """Take up what counts at once; why the settings stay as they were, in words, if they do."""
        try:
            fresh = await self._aside.do(self._source.load_again)
        except ConfigError as error:
            self._source.stay(str(error))
            return str(error)
        if fresh is not None:
            before, self.config = self.config, taken_up(self.config, fresh)
            self._changed(before)
        return self._source.trouble

    async def shown(self) -> Settings | Refused:
        try:
            return await self._aside.do(self._source.shown)
        except ConfigError as error:
            return Refused(reason=str(error))

    async def change(self, setting: str, value: str) -> Done | Refused:
        """Write one setting into the file and take it up; empty: back to the default."""
        try:
            done = await self._aside.do(lambda: self._source.change(setting, value, running=True))
        except ConfigError as error:
            return Refused(reason=str(error))
        if reason := await self.reload():
            return Refused(reason=reason)
        return done
