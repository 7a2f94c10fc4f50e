"""Which Python runs inside a sandbox on a Mac, by the host paths that become the profile's parameters.

A pure function of the facts about the running one. Promises that only its own folder, one folder of packages and our
two packages are named. Refuses an interpreter that lies outside its own folder and packages that lie in two.
"""

from runner.errors import SandboxUnavailableError
from runner.sandbox.interpreter import Interpreter
from runner.sandbox.macos.arguments import MacPython


def mac_python(python: Interpreter) -> MacPython:
    """Raises `SandboxUnavailableError`."""
    root = python.prefix
    if not python.executable.is_relative_to(root):
        raise SandboxUnavailableError(
            f"The Python at {python.executable} lies outside its own folder {root}, so it cannot be run in a sandbox; "
            "install GoGrid with another Python."
        )
    packages = [path for path in dict.fromkeys(python.path) if path.name == "site-packages" and path.is_dir()]
    outside = [path for path in packages if not path.is_relative_to(root)]
    if len(outside) > 1:
        raise SandboxUnavailableError(
            f"Python's packages lie in two folders, {outside[0]} and {outside[1]}, and a sandbox on a Mac shows one; "
            "install GoGrid in a virtual environment of its own."
        )
    sources = {source.name: str(source) for source in python.sources}
    site = (outside or packages or [root])[0]
    return MacPython(
        executable=str(python.executable),
        root=str(root),
        site=str(site),
        packages=":".join(map(str, packages)),
        gogrid=sources["gogrid"],
        runner=sources["runner"],
        bootstrap=f"{sources['runner']}/sandbox/macos/inside{python.suffix}",
    )
