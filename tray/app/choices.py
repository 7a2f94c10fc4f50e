"""What the menu needs of the settings, out of all that the runner tells. Pure."""

from collections.abc import Mapping

from runner.control_messages import Settings
from tray.app.notes import Level
from tray.app.state import Choices

_SWITCHES: Mapping[str, bool] = {"true": True, "false": False}
_LEVELS: Mapping[str, Level] = {"none": "none", "trouble": "trouble", "all": "all"}


def choices(settings: Settings) -> Choices:
    shown = {setting.key: setting for setting in settings.settings}
    limit = shown.get("worker.max_vram")
    ram = shown.get("worker.max_ram")
    in_gb = shown.get("worker.max_vram_gb")
    if in_gb is not None and in_gb.origin != "default" and (limit is None or limit.origin == "default"):
        limit = in_gb  # the limit's other name, by which it was set
    return Choices(
        max_vram="" if limit is None else f"{limit.value} GB" if _is_number(limit.value) else limit.value,
        max_ram=ram.value if ram is not None else "",
        pause_on_activity=_switch(settings, "worker.pause_on_activity"),
        run_on_battery=_switch(settings, "worker.run_on_battery"),
    )


def notifications(settings: Settings) -> Level:
    value = next((setting.value for setting in settings.settings if setting.key == "worker.notifications"), "")
    return _LEVELS.get(value, "trouble")


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()


def _switch(settings: Settings, key: str) -> bool | None:
    value = next((setting.value for setting in settings.settings if setting.key == key), "")
    return _SWITCHES.get(value.lower())
