"""What to say when a program starts whose packages were not installed with it.

GoGrid's programs share one distribution; what each needs beyond that comes by an extra (`gogrid[worker]`).
"""

_OURS = frozenset({"coordinator", "gogrid", "runner", "sandbox_profiles", "tray", "updates"})


def not_installed(error: ModuleNotFoundError, extra: str) -> str:
    """One sentence that says what to install. Raises `error` again if the module is GoGrid's own: that is a defect."""
    module = (error.name or "").partition(".")[0]
    if not module or module in _OURS:
        raise error
    return f"The package {module} is missing here; install this program with: pip install 'gogrid[{extra}]'"
