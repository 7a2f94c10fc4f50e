"""Sent as a Python job by `gogrid demo`: tries to get out, and says what happened.

Runs inside the sandbox with nothing but the standard library; prints one line for each attempt and writes `proof.txt`.
"""

import os
import resource
import socket
from pathlib import Path


def attempt_network() -> str:
    try:
        with socket.create_connection(("127.0.0.1", int(os.environ.get("PORT", "8443"))), timeout=2):
            return "REACHED the network"
    except OSError as error:
        return f"refused ({error.strerror or error})"


def attempt_home() -> str:
    seen = [
        str(path) for path in (Path("/root"), Path("/home"), Path("/etc/passwd"), Path("/etc/shadow")) if path.exists()
    ]
    return f"FOUND {', '.join(seen)}" if seen else "nothing there"


def attempt_write() -> str:
    try:
        Path("/usr/gogrid-was-here").write_text("x")
    except OSError as error:
        return f"refused ({error.strerror})"
    return "WROTE to the host"


def limits() -> str:
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    space = os.statvfs(".")
    return f"{processes} processes, {space.f_blocks * space.f_frsize >> 20} MiB of output"


def main() -> None:
    findings = {
        "network": attempt_network(),
        "home and passwords": attempt_home(),
        "writing outside": attempt_write(),
        "limits": limits(),
    }
    lines = [f"{name}: {finding}" for name, finding in findings.items()]
    print("\n".join(lines))
    Path("proof.txt").write_text("\n".join(lines) + "\n")


main()
