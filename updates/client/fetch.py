"""One file of a release, from whichever place has it: one that is slow, silent or lies makes room for the next.

Promises: what comes is judged by its signature alone, so any place may send it. While another place is there, a slow
one is left soon; it is waited for with patience only after all of them were tried. What came stays for the next place;
where it turns out wrong it is thrown away and fetched once more from the last place alone, because the first part of it
may have been another's. A place that sent wrong bytes is not asked again, so nobody makes a machine fetch without end.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from updates.client.ask import Place
from updates.client.disk import Step, unnoticed
from updates.client.download import Download, Patience
from updates.client.errors import DownloadError, StoppedError
from updates.errors import Alarm, TrustError
from updates.trust.trusted_state import TrustedState
from updates.trust.verdict import Install

BRISK = Patience(waits_s=(1.0,), window_s=20.0, least=1 << 20)
"""While there is another place: some 50 kB a second."""
_WRONG_BYTES = (Alarm.MIXED, Alarm.BAD_SIGNATURE)
"""Another place may have the right ones; whatever else is wrong is wrong everywhere."""


@dataclass(frozen=True, slots=True)
class Fetched:
    file: Path
    complaints: tuple[str, ...]
    """About places that sent wrong bytes, one sentence each."""


def fetch(
    offer: Install,
    places: Sequence[Place],
    folder: Path,
    state: Callable[[], TrustedState],
    stop: threading.Event,
    *,
    brisk: Patience = BRISK,
    patient: Patience | None = None,
    step: Step = unnoticed,
) -> Fetched:
    """The verified file.

    Args:
        places: in the order in which they are asked.
        folder, state, stop, step: as `Download` has them.

    Raises:
        DownloadError: it did not come from anywhere; the next try goes on behind what is there.
        TrustError: it did not come, and somebody sent other bytes; or it was withdrawn.
        NoRoomError: the disk is full.
        StoppedError: it was asked to; what came stays.
    """
    honest, problems = list(places), list[str]()
    lies: list[TrustError] = []
    for patience in (brisk, patient or Patience()) if len(places) > 1 else (patient or Patience(),):
        for place in tuple(honest):
            download = Download(offer, place, folder, stop=stop, patience=patience, step=step)
            try:
                return Fetched(_right_bytes(download, state), tuple(map(str, lies)))
            except StoppedError:
                raise
            except DownloadError as error:
                problems.append(str(error))
            except TrustError as error:
                if error.alarm not in _WRONG_BYTES:
                    raise
                honest.remove(place)
                lies.append(TrustError(error.alarm, f"{place.endpoint.base} sends wrong bytes: {error}"))
    sentence = " ".join(dict.fromkeys((*map(str, lies), *problems)))
    if lies:
        raise TrustError(lies[0].alarm, sentence)
    raise DownloadError(sentence or "No place is known where the update could be fetched.")


def _right_bytes(download: Download, state: Callable[[], TrustedState]) -> Path:
    begun = download.begun
    try:
        return download.run(state)
    except TrustError as error:
        if not begun or error.alarm not in _WRONG_BYTES:
            raise
    return download.run(state)
