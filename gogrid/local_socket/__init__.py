"""Lines between programs of one user on one machine: a Unix socket, on Windows a named pipe, never TCP.

Promises: nobody but the user who listens (and the system's administrator) is answered: the place is private, and each
side asks the system who is at the other end; a line is bounded; an answer that does not come ends in words.
`path` is the socket's file. On Windows there is no such file: the pipe's name is made of its folder and its name.
"""

from gogrid.local_socket.client import TIMEOUT_S, ask_line
from gogrid.local_socket.errors import LocalSocketError, NoAnswerError, NobodyListensError, NotAQuestionError
from gogrid.local_socket.server import LineServer, Respond

__all__ = [
    "TIMEOUT_S",
    "LineServer",
    "LocalSocketError",
    "NoAnswerError",
    "NobodyListensError",
    "NotAQuestionError",
    "Respond",
    "ask_line",
]
