"""The public client: `GoGrid` for programs, the `gogrid` command (`gogrid.client.cli`) for people.

Promises: talks to the one coordinator that was pinned at login and to nobody else; every failure is a `ClientError` of
one sentence. Needs nothing of the coordinator's or the worker's code.
"""

from gogrid.client.answers import ChatTurn, Job, Limits, LogPiece
from gogrid.client.client import GoGrid
from gogrid.client.errors import ClientError

__all__ = ["ChatTurn", "ClientError", "GoGrid", "Job", "Limits", "LogPiece"]
