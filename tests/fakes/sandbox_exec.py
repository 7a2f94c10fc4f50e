"""Stands in for macOS's `sandbox-exec` on Linux: checks how it is called, limits files with Landlock, runs the rest.

Started as that program by `tests/integration/macos_launcher_test.py`, which writes the line that makes it one. It makes
the launcher's own promises testable for real (processes, groups, descriptors, environment, folders); it says nothing of
the profile, which only a Mac can run.
"""

import os
import sys

from runner.sandbox.linux import kernel
from sandbox_profiles import macos
from sandbox_profiles.sbpl import parse

_SYSTEM = ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev/urandom", "/dev/null")


def main() -> None:
    arguments = sys.argv[1:]
    parameters: dict[str, str] = {}
    while arguments[:1] == ["-D"]:
        name, _, value = arguments[1].partition("=")
        parameters[name] = value
        del arguments[:2]
    if tuple(parameters) != macos.PARAMETERS or arguments[:1] != ["-p"]:
        sys.exit(f"sandbox-exec: called wrongly: {sys.argv[1:]}")
    if any(os.path.realpath(path) != path or not os.path.isdir(path) for path in parameters.values()):
        sys.exit(f"sandbox-exec: a parameter is no folder by its own name: {parameters}")
    parse(arguments[1])
    kernel.no_new_privileges()
    kernel.restrict_files(
        (*_SYSTEM, *(parameters[name] for name in macos.READABLE_PARAMETERS)),
        (*(parameters[name] for name in macos.WRITABLE_PARAMETERS), "/dev/null"),
    )
    os.execv(arguments[2], arguments[2:])


if __name__ == "__main__":
    main()
