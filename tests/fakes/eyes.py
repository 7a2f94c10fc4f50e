"""Eyes of the gates that see what the test says, and count how often they were asked."""

from runner.gates.observation import MachineSeen
from runner.gates.settings import GateSettings


class SeeingEyes:
    """Implements what `runner.owner.Owner` uses of `Eyes`."""

    def __init__(self) -> None:
        self.idle_s: float | None = 9999.0
        self.seen = MachineSeen()
        self.trouble: Exception | None = None
        self.owner_looks = self.machine_looks = 0
        self.unseen: tuple[str, ...] = ()

    def owner(self) -> float | None:
        self.owner_looks += 1
        if self.trouble is not None:
            raise self.trouble
        return self.idle_s

    def machine(self, settings: GateSettings) -> MachineSeen:
        self.machine_looks += 1
        if self.trouble is not None:
            raise self.trouble
        return self.seen

    def close(self) -> None:
        """Nothing is held."""
