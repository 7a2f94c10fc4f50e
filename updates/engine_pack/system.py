"""This machine as targets name it, and as `os_min` counts it."""

import platform
import sys


def this_system() -> str:
    """`linux-x86_64`."""
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    system = {"win32": "windows"}.get(sys.platform, sys.platform)
    return f"{system}-{machine}"


def os_version() -> tuple[int, ...]:
    """What a release's `os_min` is compared with: macOS's and Windows' own version, on Linux the C library's.

    Empty: unknown.
    """
    if sys.platform == "darwin":
        text = platform.mac_ver()[0]
    elif sys.platform == "win32":
        text = platform.version()
    else:
        text = platform.libc_ver()[1]
    return parse_dotted(text)


def parse_dotted(text: str) -> tuple[int, ...]:
    """`2.31` as numbers to compare; empty for what is none."""
    parts = text.split(".")
    return tuple(map(int, parts)) if all(part.isascii() and part.isdecimal() for part in parts) else ()
