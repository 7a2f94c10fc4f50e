"""What the page wants done that needs a process of its own or the network.

Promises: a join token travels to the runner by standard input, never on a command line or in the environment; asking a
coordinator for its name sends one `GET /identity.pem` and nothing else, and a name is given only if the pin fits.
"""

import subprocess
import sys
from typing import TypeVar

import msgspec

from gogrid.errors import GoGridError
from gogrid.jointoken import JoinToken
from gogrid.place_options import place_words
from gogrid.places import WorkerPlaces
from runner.control_messages import Settings
from tray.runner_command import runner_command
from tray.window.bridge.doors import JoinedAs

T = TypeVar("T")
_JOIN_S = 60.0
_SETTINGS_S = 20.0
_LONGEST_COMPLAINT = 500


class ErrandError(GoGridError):
    """It could not be done; says why."""


class _Noted(msgspec.Struct, frozen=True):
    note: str = ""


class _Joined(msgspec.Struct, frozen=True):
    """Of `runner join --json`."""

    coordinator: str
    address: str
    worker: str
    pending: bool


class WindowErrands:
    """Implements `doors.Errands`."""

    def __init__(self, places: WorkerPlaces) -> None:
        self._places = places

    def join(self, token: str, name: str) -> JoinedAs:
        words = ["--json", *(["--name", name] if name else [])]
        done = _decoded(self._run("join", words, told=token + "\n", patience_s=_JOIN_S), _Joined)
        return JoinedAs(done.coordinator, done.address, done.worker, done.pending)

    def joined(self) -> bool:
        return self._places.membership.exists()

    def coordinator_name(self, token: JoinToken) -> str:
        # 30 MB of memory that a window without a first run does not pay
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        from gogrid.client.trust import fetch_identity

        reasons: list[str] = []
        for address in token.addresses:
            try:
                identity = fetch_identity(f"https://{address}")
            except GoGridError as error:
                reasons.append(str(error))
                continue
            if identity.pin != token.pin:
                raise ErrandError(
                    f"Who answers at {address} is not the coordinator that made this token: do not join; ask its admin."
                )
            subject = x509.load_pem_x509_certificate(identity.pem.encode()).subject
            names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            return str(names[0].value) if names else "coordinator"
        raise ErrandError(reasons[0] if reasons else "The token names no address.")

    def settings(self) -> Settings:
        return _decoded(self._run("config", ["--json"], patience_s=_SETTINGS_S), Settings)

    def change(self, setting: str, value: str) -> str:
        said = self._run("config", ["--json", "--", setting, value], patience_s=_SETTINGS_S)
        return _decoded(said, _Noted).note

    def open_folder(self, which: str) -> None:
        folder = self._places.logs if which == "logs" else self._places.config.parent
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            subprocess.Popen(
                [*_opener(), str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise ErrandError(
                f"{folder} cannot be opened here ({error.strerror}); its place is shown below."
            ) from error

    def _run(self, errand: str, words: list[str], *, patience_s: float, told: str = "") -> bytes:
        try:
            done = subprocess.run(
                runner_command([errand, *place_words(self._places), *words]),
                input=told.encode(),
                capture_output=True,
                timeout=patience_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ErrandError(f"There was no answer within {patience_s:.0f} seconds; try again.") from None
        except OSError as error:
            raise ErrandError(f"The worker's program cannot be started: {error.strerror}.") from error
        if done.returncode != 0:
            raise ErrandError(_complaint(done.stderr))
        return done.stdout


def _complaint(stderr: bytes) -> str:
    """The last line that was said, without the program's name."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines() or ["It failed without saying why."]
    return lines[-1].removeprefix("gogrid-worker: ")[:_LONGEST_COMPLAINT]


def _decoded(text: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise ErrandError(
            "The worker's program gives an answer that this version does not know; reinstall it."
        ) from error


def _opener() -> list[str]:
    """The system's program that shows a folder."""
    if sys.platform == "darwin":
        return ["open"]
    return ["explorer"] if sys.platform == "win32" else ["xdg-open"]
