"""What `bench` found, as it is kept in the state folder and told to the coordinator."""

from pathlib import Path

import msgspec

from gogrid.places import WorkerPlaces
from gogrid.protocol.measured import MeasuredSpeed
from runner.facts import Facts

_FILE = "speed.json"


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """What `bench` found."""

    device: str
    """By which it was measured; on another one it says nothing."""
    engine: str
    """In words, with the number format."""
    tokens_per_s: float
    """Of eight answers at once, together."""
    stream_tokens_per_s: float
    """Of one answer alone."""
    memory_bandwidth: float
    """Bytes each second that the device's memory reads and writes."""
    measured_at: float
    """Unix seconds."""
    software: str

    @property
    def told(self) -> MeasuredSpeed:
        """For the coordinator."""
        return MeasuredSpeed(
            tokens_per_s=self.tokens_per_s,
            stream_tokens_per_s=self.stream_tokens_per_s,
            memory_bandwidth=self.memory_bandwidth,
        )


def speed_file(places: WorkerPlaces) -> Path:
    return places.state / _FILE


def load_speed(places: WorkerPlaces, facts: Facts) -> Speed | None:
    """What was measured last, if it was on the device that is lent now."""
    try:
        speed = msgspec.json.decode(speed_file(places).read_bytes(), type=Speed)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return speed if speed.device == device_name(facts) else None


def device_name(facts: Facts) -> str:
    """Of what is lent; empty: nothing is."""
    return next((device.name for device in facts.devices if device.usable), "")
