"""What keeps a machine from an update; each one sentence for its owner. What runs goes on."""

from updates.errors import UpdateError


class AskError(UpdateError):
    """No endpoint gives an answer that can be used."""


class EndpointError(UpdateError):
    """An address that may not be asked for updates."""


class DownloadError(UpdateError):
    """The file did not come; another try may go on where this one stopped."""


class StoppedError(DownloadError):
    """It was asked to stop."""


class BusyError(UpdateError):
    """Another program of GoGrid is at it; it is done first."""


class NoRoomError(UpdateError):
    """The disk is full; what an update had taken of it is free again."""


class StageError(UpdateError):
    """What was downloaded cannot be made ready."""


class UnfitError(StageError):
    """It never can be: whoever published it packed the wrong thing."""


class CopyError(UpdateError):
    """A copy of the program is not as it must be."""


class NoWayBackError(UpdateError):
    """There is no release that may be gone back to."""
