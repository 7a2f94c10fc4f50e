"""What the updater needs of the settings and of the coordinator. Pure.

The joined coordinator is trusted by its pinned identity, everybody else by whom this system trusts. Without endpoints
of its owner's a machine asks its coordinator.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from runner.control_messages import Settings
from updates.client.endpoints import DEFAULT_PATH, endpoint


@dataclass(frozen=True, slots=True)
class UpdateSettings:
    enabled: bool = True
    endpoints: tuple[str, ...] = ()
    pinned: str | None = None


def update_settings(settings: Settings) -> UpdateSettings:
    values = {one.key: one.value for one in settings.settings}
    endpoints = values.get("updates.endpoints", "").replace(",", " ").split()
    return UpdateSettings(
        enabled=values.get("updates.enabled", "true") == "true",
        endpoints=tuple(endpoints),
        pinned=values.get("updates.pin", "") or None,
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """One place to ask."""

    check: str
    base: str
    pinned: bool
    """It is the coordinator: its identity is what is trusted, nothing else."""


def asked(settings: UpdateSettings, coordinator: str, target: str, version: str) -> tuple[Asked, ...]:
    """Args: `coordinator` as `https://host:port`; empty: not known."""
    templates = settings.endpoints or ((coordinator + DEFAULT_PATH,) if coordinator else ())
    mine = _authority(coordinator)
    found = []
    for template in templates:
        place = endpoint(template, target, version)
        found.append(Asked(place.check, place.base, bool(mine) and _authority(template) == mine))
    return tuple(found)


def _authority(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 443}" if parts.scheme == "https" else ""
