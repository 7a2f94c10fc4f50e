"""Change what starts next, and take away what nobody needs any more.

What starts is one field of one file that is replaced in one step: a power cut leaves the old version or the new one.
"""

from updates.client.disk import Step, unnoticed
from updates.client.errors import CopyError, NoWayBackError
from updates.client.layout import AppFolder, Installation, read_copy
from updates.client.stage import remove
from updates.trust.trusted_state import TrustedState, given_up, left, proved, switched, way_back


def ready(installation: Installation, state: TrustedState, pinned: str | None = None) -> int | None:
    """The newest version that lies ready and may be switched to from here."""
    for seq in sorted(installation.folder.present(), reverse=True):
        if seq <= installation.copy.seq or seq in state.failed or seq in state.revoked or seq < state.security_floor:
            continue
        if pinned is None or version_of(installation, seq) == pinned:
            return seq
    return None


def version_of(installation: Installation, seq: int) -> str:
    """As people call it."""
    if seq == installation.copy.seq:
        return installation.copy.version
    try:
        return read_copy(installation.folder.version(seq)).version
    except CopyError:
        return f"number {seq}"


def switch(installation: Installation, seq: int, step: Step = unnoticed) -> None:
    """From the next start on `seq` runs, on trial. Raises `StateFileError` or `OSError`; then nothing has changed."""
    installation.change(lambda state: switched(state, seq), step)
    step("switched")


def prove(installation: Installation, step: Step = unnoticed) -> None:
    """What runs has reached its coordinator: it stays. Older ones are taken away."""
    running = installation.copy.seq
    state = installation.load()
    if state.trial == running != state.last_good:
        installation.folder.write_note("")  # what became of the one before it is of no interest any more

    def stays(state: TrustedState) -> TrustedState:
        return proved(left(state, running)) if state.installed in (0, running) else state

    state = installation.change(stays, step)
    step("proved")
    collect(installation.folder, state, installation.copy.seq, step)


def roll_back(installation: Installation, own: int, step: Step = unnoticed) -> int:
    """Go back to the release that was good before, for good: what is left is never tried again here.

    Args:
        own: the installer's copy; nothing older than it can be started.

    Returns: what starts next.

    Raises:
        NoWayBackError: there is none, or none that is safe.
    """
    state = installation.load()
    seq = way_back(state)
    if seq is None and state.last_good and state.security_floor > min(state.last_good, state.before_good or 1 << 60):
        raise NoWayBackError("The version before this one has a security flaw, so it is not gone back to.")
    if seq is None or not (seq == own or (seq > own and seq in installation.folder.present())):
        raise NoWayBackError("There is no earlier version on this machine that can be gone back to.")
    installation.change(lambda state: left(given_up(state, state.installed), seq), step)
    step("rolled back")
    return seq


def collect(folder: AppFolder, state: TrustedState, running: int, step: Step = unnoticed) -> None:
    """Take away versions that are neither running, next, good, nor waiting to be switched to.

    While somebody fetches one nothing is taken away: what is being unpacked looks like a rest.
    """
    with folder.fetching_if_free() as alone:
        if alone:
            _collect(folder, state, running, step)


def _collect(folder: AppFolder, state: TrustedState, running: int, step: Step) -> None:
    kept = {running, state.installed, state.last_good, state.before_good}
    waiting = {seq for seq in folder.present() if seq > running and seq not in state.failed}
    kept |= {max(waiting)} if waiting else set()
    for seq in sorted(folder.present() - kept):
        remove(folder.version(seq), folder)
        step("version removed")
    if folder.versions.is_dir():
        for path in folder.versions.glob(".*"):
            remove(path, folder)
    step("collected")
