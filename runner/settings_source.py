"""Where a running worker's settings come from, how they are shown, and what becomes of a change.

Knows the flags and the environment this worker was started with, so that it can say truthfully whether a value that
was written counts, and from when. The environment is given: nothing is read but the settings' file.
"""

from collections.abc import Mapping

from gogrid.config import Setting, resolve
from gogrid.places import WorkerPlaces
from runner.config import AT_JOINING, AT_START, SETTINGS, WorkerConfig, load_config, shown_values, vram_twin
from runner.control_messages import Settings, SettingShown
from runner.settings_file import change_setting


class SettingsSource:
    """Every method raises `ConfigError` where a setting is wrong: what, where, and what is allowed."""

    def __init__(self, places: WorkerPlaces, flags: Mapping[str, object], environment: Mapping[str, str]) -> None:
        self._places, self._flags, self._environment = places, flags, environment

    def load(self) -> WorkerConfig:
        return load_config(self._places, flags=self._flags, environment=self._environment)

    def shown(self) -> Settings:
        """Every setting and which place won."""
        found = resolve(SETTINGS, flags=self._flags, environment=self._environment, file=self._places.config)
        values = shown_values(found)
        return Settings(
            settings=tuple(_shown(one, values[one.key], found.origins[one.key]) for one in SETTINGS),
            file=str(self._places.config),
        )

    def change(self, name: str, value: str, *, running: bool) -> str:
        """Write one setting into the file, or with an empty value remove it; what comes of it, as one sentence."""
        key, file = change_setting(self._places.config, name, value).key, self._places.config
        settings = {one.key: one for one in self.shown().settings}
        now = settings[key]
        done = f"Wrote {key} = {value} to {file}" if value.strip() else f"Removed {key} from {file}"
        for winner in (now, settings.get(vram_twin(key), now)):
            if winner.origin not in (str(file), "default"):
                return f"{done}; it does not count as long as {winner.origin} is given, which says {winner.value}."
        default = "" if value.strip() else f" (the default is {now.value or 'nothing'})"
        return f"{done}{default}; it counts {_when(key, running=running)}."


def _when(key: str, *, running: bool) -> str:
    if key in AT_JOINING:
        return "when this worker joins a coordinator"
    if not running:
        return "when the worker starts (none is running)"
    return "from the worker's next start" if key in AT_START else "at once"


def _shown(setting: Setting[object], value: str, origin: str) -> SettingShown:
    return SettingShown(
        key=setting.key,
        value=value,
        origin=origin,
        env=setting.env,
        help=setting.help,
        live=setting.key not in AT_START | AT_JOINING,
    )
