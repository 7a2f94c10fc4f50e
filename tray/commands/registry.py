"""Every command of `gogrid-worker`, and the parser that knows their words."""

from gogrid.arguments import CommandParser
from tray.commands.autostart import AUTOSTART
from tray.commands.base import Command
from tray.commands.bench import BENCH
from tray.commands.config import CONFIG
from tray.commands.doctor import DOCTOR
from tray.commands.engine import ENGINE
from tray.commands.joining import JOIN
from tray.commands.logs import LOGS
from tray.commands.models import MODELS
from tray.commands.orders import FINISH, PAUSE, RESUME
from tray.commands.quitting import QUIT
from tray.commands.status import STATUS
from tray.commands.update import UPDATE

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        *(JOIN, STATUS, PAUSE, FINISH, RESUME, QUIT, CONFIG, LOGS, DOCTOR, MODELS, ENGINE, BENCH, AUTOSTART, UPDATE),
    )
}


def command_parser() -> CommandParser:
    """Parses a command's name and its words; `command` in the result is the name."""
    parser = CommandParser(prog="gogrid-worker", allow_abbrev=False)
    names = parser.add_subparsers(dest="command", required=True, parser_class=CommandParser)
    for command in COMMANDS.values():
        own = names.add_parser(command.name, help=command.help, description=command.help, allow_abbrev=False)
        command.words(own)
        own.add_argument("--json", action="store_true", help="machine-readable output")
    return parser
