"""This machine as targets name it."""

import platform
import sys


def this_system() -> str:
    """`linux-x86_64`."""
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    system = {"win32": "windows"}.get(sys.platform, sys.platform)
    return f"{system}-{machine}"
