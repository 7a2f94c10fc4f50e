"""Where a running worker's settings come from, how they are shown, and what becomes of a change.

Knows the flags and the environment this worker was started with, so that it can say truthfully whether a value that
was written counts, and from when. While the file is no good, or gone, the settings stay as they were, and what is wrong
with it is told for as long. The environment is given: nothing is read but the settings' file.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from gogrid.config import Setting, resolve
from gogrid.errors import ConfigError
from gogrid.places import WorkerPlaces
from runner.config import AT_JOINING, AT_START, SETTINGS, WorkerConfig, load_config, shown_values, vram_twin
from runner.control_messages import Done, Settings, SettingShown
from runner.settings_file import Changed, await_save, change_setting

log = logging.getLogger(__name__)
Counts = Literal["now", "start", "joining"]


class SettingsSource:
    """Methods raise `ConfigError` where a setting is wrong: what, where, and what is allowed."""

    def __init__(self, places: WorkerPlaces, flags: Mapping[str, object], environment: Mapping[str, str]) -> None:
        self._places, self._flags, self._environment = places, flags, environment
        self._last: Settings | None = None
        """As they were when the file was last fine."""
        self._file_counts = False
        """There was one when they were read."""
        self.trouble = ""
        """Why they stay so, in words."""

    def load(self) -> WorkerConfig:
        file_counts = _is_there(self._places.config)
        config = load_config(self._places, flags=self._flags, environment=self._environment)
        self._last, self.trouble, self._file_counts = self._resolved(), "", file_counts
        return config

    def load_again(self) -> WorkerConfig | None:
        """None: they stay as they were, and `trouble` says why. Blocks where an editor is just saving the file."""
        await_save(self._places.config)
        before = self.trouble
        try:
            self._refuse_none()
            fresh = self.load()
        except ConfigError as error:
            self.stay(str(error))
            return None
        if before:
            log.info("the settings are fine again")
        return fresh

    def stay(self, trouble: str) -> None:
        """They stay as they were. Args: `trouble`: why, in words; said once."""
        if trouble != self.trouble:
            log.error("the settings stay as they were: %s", trouble)
        self.trouble = trouble

    def load_anyway(self) -> WorkerConfig:
        """For those who must go on: without the file where that is no good, else the defaults; `trouble` says why."""
        try:
            return self.load()
        except ConfigError as error:
            self.trouble = str(error)
        try:
            return load_config(self._places, flags=self._flags, environment=self._environment, read_file=False)
        except ConfigError:
            return load_config(self._places, flags={}, environment={}, read_file=False)

    def shown(self) -> Settings:
        """Every setting and which place won; while the file is no good, as they were before, and what is wrong."""
        try:
            self._refuse_none()
            return self._resolved()
        except ConfigError as error:
            if self._last is None:
                raise
            return replace(self._last, trouble=str(error))

    def _refuse_none(self) -> None:
        """What the owner had limited is not lent because the file is away; whoever wants the defaults starts anew."""
        file = self._places.config
        if self._file_counts and not _is_there(file):
            raise ConfigError(f"{file} is gone; put it back, or start the worker anew to go on without it.")

    def _resolved(self) -> Settings:
        found = resolve(SETTINGS, flags=self._flags, environment=self._environment, file=self._places.config)
        values = shown_values(found)
        return Settings(
            settings=tuple(_shown(one, values[one.key], found.origins[one.key]) for one in SETTINGS),
            file=str(self._places.config),
        )

    def change(self, name: str, value: str, *, running: bool) -> Done:
        """Write one setting into the file, or with an empty value remove it; what comes of it."""
        changed, file = change_setting(self._places.config, name, value), self._places.config
        key = changed.setting.key
        settings = {one.key: one for one in self._resolved().settings}
        now, done = settings[key], _done(changed, value, str(file))
        if not value.strip() and not changed.removed:
            return Done(note=f"{key} was not set in {file}; it is {now.value or 'nothing'} ({now.origin}).", key=key)
        for winner in (now, settings.get(vram_twin(key), now)):
            if winner.origin not in (str(file), "default"):
                note = f"{done}; it does not count as long as {winner.origin} is given, which says {winner.value}."
                return Done(note=note, key=key, counts="no")
        counts = _counts(key, running=running)
        default = "" if value.strip() else f" (the default is {now.value or 'nothing'})"
        return Done(note=f"{done}{default}; it counts {_when(counts, running=running)}.", key=key, counts=counts)


def _counts(key: str, *, running: bool) -> Counts:
    if key in AT_JOINING:
        return "joining"
    return "start" if key in AT_START or not running else "now"


def _is_there(file: Path) -> bool:
    """Also what cannot be read, about which whoever reads it says more."""
    try:
        file.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _done(changed: Changed, value: str, file: str) -> str:
    key = changed.setting.key
    if not value.strip():
        return f"Removed {key} from {file}"
    gone = "".join(f", and removed {twin}, the limit's other name" for twin in changed.removed)
    return f"Wrote {key} = {value} to {file}{gone}"


def _when(counts: Counts, *, running: bool) -> str:
    if counts == "joining":
        return "when this worker joins a coordinator"
    if not running:
        return "when the worker starts (none is running)"
    return "from the worker's next start" if counts == "start" else "at once"


def _shown(setting: Setting[object], value: str, origin: str) -> SettingShown:
    return SettingShown(
        key=setting.key,
        value=value,
        origin=origin,
        env=setting.env,
        help=setting.help,
        live=setting.key not in AT_START | AT_JOINING,
    )
