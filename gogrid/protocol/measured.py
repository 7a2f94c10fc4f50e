"""How fast a worker is, as `gogrid-worker bench` found with the same model everywhere: part of its report."""

from gogrid.protocol.wire import Value


class MeasuredSpeed(Value, frozen=True):
    tokens_per_s: float
    """Of eight answers at once, together."""
    stream_tokens_per_s: float
    """Of one answer alone."""
    memory_bandwidth: float
    """Bytes each second that the device's memory reads and writes."""
