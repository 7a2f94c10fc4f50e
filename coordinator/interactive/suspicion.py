"""Whether the executors that serve a request may be dying of it: a core.

Promises: a request is not given up for what its neighbour has done. A request whose executor died while it served
others, and that had not got on there, is tried alone from then on, so that it is known whose fault it is; one that had
got on stays among the others, but not for ever. What dies alone, or is lost again and again without getting on, is
given up.
"""

from dataclasses import dataclass

ATTEMPTS = 3
"""How often in a row a request may be lost without having been brought forward, and how often in all what serves it
alone may die."""
IN_COMPANY = 3
"""How often what serves it and others may die, while it gets on, before it is tried alone."""


@dataclass(slots=True)
class Suspicion:
    """Of one request. `progressed`: it had got new tokens from the worker that it has just lost."""

    alone: bool = False
    """Whether it is to be served alone next time."""
    _fruitless: int = 0
    _in_company: int = 0
    _died_alone: int = 0

    def lost(self, *, progressed: bool, blame: bool) -> bool:
        """Whether to give it up. `blame`: the request itself may be what the worker was lost by."""
        if progressed:
            self._fruitless = 0
        elif blame:
            self._fruitless += 1
        return self._fruitless >= ATTEMPTS

    def crashed(self, *, progressed: bool, in_company: bool) -> bool:
        """Whether to give it up: what served it has died. A worker that says `in_company` of one that was to be served
        alone is not believed."""
        if in_company and not self.alone:
            self._in_company += 1
            self.alone = not progressed or self._in_company >= IN_COMPANY
            return self.lost(progressed=progressed, blame=False)
        self._died_alone += self.alone
        return self.lost(progressed=progressed, blame=True) or self._died_alone >= ATTEMPTS
