"""How tests ask the trust core: what it says of an offer, and what it has learned after one."""

from tests.fakes.update_publisher import NOW, Publisher, fresh, install
from updates.errors import Alarm
from updates.trust.trusted_state import TrustedState
from updates.trust.verdict import Documents, Evaluation, Install, Refuse, Verdict, Wait, WaitReason, evaluate


def judged(offer: Documents, state: TrustedState | None = None, now: float = NOW, **facts: object) -> Evaluation:
    return evaluate(offer, state or fresh(), install(**facts), now)


def seen(publisher: Publisher, now: float = NOW) -> TrustedState:
    """What a machine knows after this was offered to it."""
    done = judged(publisher.offer(), now=now)
    assert isinstance(done.verdict, Install), done.verdict
    return done.state


def alarm_of(verdict: Verdict) -> Alarm:
    assert isinstance(verdict, Refuse), verdict
    return verdict.alarm


def waits_for(verdict: Verdict) -> WaitReason:
    assert isinstance(verdict, Wait), verdict
    return verdict.reason
