"""Write the seccomp filters that launchers load: `python -m sandbox_profiles.seccomp_generate`.

The files are kept under version control, so that a worker needs neither a compiler nor libseccomp; a test makes them
again and compares the bytes.
"""

from pathlib import Path

from sandbox_profiles.bpf import MACHINES, program


def filter_path(machine: str) -> Path:
    """The filter for a processor as `platform.machine()` names it; the file may not exist."""
    return Path(__file__).with_name(f"seccomp-{machine}.bpf")


def main() -> None:
    for machine in MACHINES:
        filter_path(machine.name).write_bytes(program(machine))


if __name__ == "__main__":
    main()
