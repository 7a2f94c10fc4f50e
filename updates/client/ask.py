"""One check: ask the endpoints in order, fetch the keys that are not known yet, and judge what came.

Promises: what was learned is on the disk before anybody acts on it; the first endpoint whose answer counts decides. One
that is silent, slow (for its answer, or for all keys together), not to be believed, or whose newest word has expired
makes room for the next: whoever stands in one place keeps nobody from updates. What was refused is told all the same.
"""

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from updates.client.endpoints import Endpoint
from updates.client.errors import AskError
from updates.client.http import small
from updates.client.layout import Installation
from updates.client.pace import ANSWER_S
from updates.errors import TrustError
from updates.trust.answer import LARGEST_ANSWER, Offer, parse_answer, parse_keys_answer
from updates.trust.chain import MOST_EPOCHS, SignedKeys
from updates.trust.trusted_state import TrustedState, trusted_now
from updates.trust.verdict import (
    Current,
    Documents,
    InstallFacts,
    Refuse,
    Verdict,
    Wait,
    WaitReason,
    evaluate,
    quiet,
)

_NOBODY = "No endpoint is known: a worker learns its coordinator's when it connects; or set updates.endpoints."
_PLACE = 4.0
"""So many times an answer's time a place may take for its answer and all keys together."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask, and who may answer there."""

    endpoint: Endpoint
    trust: ssl.SSLContext | None
    """None: whom this system trusts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    verdict: Verdict
    place: Place
    """Who said it."""
    counts: bool = True
    """It is believed, and has not expired."""
    complaints: tuple[str, ...] = ()
    """About places before that one which were refused, one sentence each."""


def ask(
    places: Sequence[Place], installation: Installation, facts: InstallFacts, now: float, *, answer_s: float = ANSWER_S
) -> Outcome:
    """One check.

    Args:
        now: in seconds since 1970.
        answer_s: so long one answer may take.

    Returns: what the first place said whose word counts; where none counts, the gravest of what they said.

    Raises:
        AskError: nobody answers.
        BusyError, StateFileError, OSError: what is remembered cannot be read or written.
    """
    problems: list[str] = []
    passed: list[Outcome] = []
    for place in places:
        try:
            outcome = _ask_one(place, installation, facts, now, answer_s)
        except AskError as error:
            problems.append(str(error))
            continue
        if outcome.counts:
            return replace(outcome, complaints=tuple(_complaint(before) for before in passed if _refused(before)))
        passed.append(outcome)
    if passed:
        return min(passed, key=_gravest_first)
    raise AskError(" ".join(problems) or _NOBODY)


def _ask_one(place: Place, installation: Installation, facts: InstallFacts, now: float, answer_s: float) -> Outcome:
    state, line = installation.load(), _Line(place, answer_s)
    try:
        raw = line.get(_question(place, state, facts))
        if raw is None:
            heard_of_none = state.ts_expires == 0.0 or trusted_now(state, now) < state.ts_expires
            return Outcome(quiet(state, now, facts.built_at), place, counts=heard_of_none)
        documents = _documents(raw, line, state, facts)
    except TrustError as error:
        return Outcome(Refuse(error.alarm, str(error)), place, counts=False)
    verdict = _judge(documents, installation, facts, now)
    late = isinstance(verdict, Wait) and verdict.reason in (WaitReason.EXPIRED, WaitReason.FROZEN)
    return Outcome(verdict, place, counts=not late and not isinstance(verdict, Refuse))


def _refused(outcome: Outcome) -> bool:
    return isinstance(outcome.verdict, Refuse)


def _complaint(outcome: Outcome) -> str:
    said = outcome.verdict.sentence if isinstance(outcome.verdict, Refuse) else ""
    return f"{outcome.place.endpoint.base} offers what is not to be believed: {said}"


def _gravest_first(outcome: Outcome) -> int:
    match outcome.verdict:
        case Refuse():
            return 0
        case Wait() as wait:
            return 1 if wait.warn else 2
        case _:
            return 3


class _Line:
    """What may be asked at one place in the time it is given."""

    def __init__(self, place: Place, answer_s: float) -> None:
        self.place, self._answer_s, self._until = place, answer_s, time.monotonic() + _PLACE * answer_s

    def get(self, url: str) -> bytes | None:
        """Raises `AskError`."""
        within = min(self._answer_s, self._until - time.monotonic())
        return small(url, self.place.trust, LARGEST_ANSWER, within)


def _question(place: Place, state: TrustedState, facts: InstallFacts) -> str:
    """With the numbers that are known: a coordinator says nothing new only to whoever has its newest timestamp, too.

    Else a machine that is up to date would hear nothing for weeks, and take that for a freeze.
    """
    check = place.endpoint.check
    return f"{check}{'&' if '?' in check else '?'}seq={facts.seq}&ts={state.ts_seq}"


def _documents(raw: bytes, line: _Line, state: TrustedState, facts: InstallFacts) -> Documents:
    offer = parse_answer(raw)
    return Documents(_missing_keys(offer, line, state, facts), offer.signed_timestamp, offer.signed_release)


def _judge(documents: Documents, installation: Installation, facts: InstallFacts, now: float) -> Verdict:
    verdict: Verdict = Current()

    def learn(state: TrustedState) -> TrustedState:
        nonlocal verdict
        evaluation = evaluate(documents, state, facts, now)
        verdict = evaluation.verdict
        return evaluation.state

    installation.change(learn)
    return verdict


def _missing_keys(offer: Offer, line: _Line, state: TrustedState, facts: InstallFacts) -> tuple[SignedKeys, ...]:
    first = max(state.key_epoch + 1, facts.anchors.first_epoch)
    last = min(offer.key_epoch, first + MOST_EPOCHS - 1)
    found = []
    for epoch in range(first, last + 1):
        raw = line.get(line.place.endpoint.keys(epoch))
        if raw is None:
            raise AskError(f"The keys of epoch {epoch} are not there.")
        found.append(parse_keys_answer(raw))
    return tuple(found)
