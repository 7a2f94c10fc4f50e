"""The owner's word before a link is followed: a web page must not lend this machine to a stranger.

What the link says is shown, not obeyed; no answer is a no.
"""

import sys

from gogrid.jointoken import JoinToken
from gogrid.terminal import one_line

_LONGEST_ANSWER = 100


def question(token: JoinToken, *, leaves: bool) -> str:
    """Args: leaves: this machine works for a coordinator already."""
    where = one_line(" or ".join(map(str, token.addresses)))
    asked = f"A link wants this computer to work for the coordinator at {where} (pin {token.pin.hex()[:8]}).\n"
    if leaves:
        asked += "It would leave the coordinator that it works for now.\n"
    return f"{asked}Follow it only if you trust whoever gave it to you. Join? [y/N] "


def is_yes(answer: str) -> bool:
    return answer.strip().lower() in ("y", "yes")


def ask_at_terminal(text: str) -> str:
    """What somebody types there; standard input may be something else. Raises OSError: there is no terminal."""
    reading, writing = ("CONIN$", "CONOUT$") if sys.platform == "win32" else ("/dev/tty", "/dev/tty")
    with open(writing, "w", encoding="utf-8") as screen, open(reading, encoding="utf-8", errors="replace") as keys:
        screen.write(text)
        screen.flush()
        return keys.readline(_LONGEST_ANSWER)
