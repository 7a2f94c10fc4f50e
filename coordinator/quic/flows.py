"""What the job streams of one link have brought and their owners have not yet handled.

Refuses to credit more than came: an owner's mistake cannot widen a worker's window.
"""

from gogrid.ids import JobId

Lease = tuple[JobId, int]


class JobFlows:
    def __init__(self) -> None:
        self._flows: dict[Lease, _Flow] = {}

    def came(self, lease: Lease, stream_id: int, size: int) -> None:
        """A message of `size` bytes goes to the lease's owner; 0: it came on no stream of its own."""
        if not size:
            return
        flow = self._flows.get(lease)
        if flow is None:
            flow = self._flows[lease] = _Flow()
        flow.stream_id = stream_id
        flow.unhandled += size

    def handled(self, lease: Lease, size: int) -> tuple[int, int]:
        """The owner has dealt with `size` bytes: the stream, and how many bytes to credit to it."""
        flow = self._flows.get(lease)
        if flow is None:
            return 0, 0
        size = max(0, min(size, flow.unhandled))
        flow.unhandled -= size
        self._forget_if_done(lease, flow)
        return flow.stream_id, size

    def ended(self, lease: Lease) -> None:
        """Nothing more comes."""
        flow = self._flows.get(lease)
        if flow is not None:
            flow.ended = True
            self._forget_if_done(lease, flow)

    def reset(self, stream_id: int) -> None:
        """The stream was given up; whoever resets a stream credits all of it."""
        self._flows = {lease: flow for lease, flow in self._flows.items() if flow.stream_id != stream_id}

    def clear(self) -> None:
        self._flows.clear()

    def _forget_if_done(self, lease: Lease, flow: "_Flow") -> None:
        if flow.ended and not flow.unhandled:
            del self._flows[lease]


class _Flow:
    __slots__ = ("ended", "stream_id", "unhandled")

    def __init__(self) -> None:
        self.stream_id = 0
        self.unhandled = 0
        self.ended = False
