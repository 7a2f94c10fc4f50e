"""What can go wrong between two local programs."""

from gogrid.errors import GoGridError


class LocalSocketError(GoGridError):
    """Nothing can be listened on, or asked, at this path."""


class NobodyListensError(LocalSocketError):
    """There is no program to ask."""


class NoAnswerError(LocalSocketError):
    """There is one, but it does not answer."""


class NotAQuestionError(GoGridError):
    """Raised by a server's `respond`: its sentence is the last answer of that connection."""
