"""`serve`: run the coordinator until it is told to stop."""

import argparse

from coordinator.cli.shell import Shell, Subparsers, verb
from coordinator.config import HTTP_LOOPBACK, LISTEN, LOG_LEVEL, NAME, PUBLIC, load_config
from gogrid.config import LOG_LEVELS


def add(commands: Subparsers) -> None:
    parser = verb(commands, "serve", run, "Run the coordinator until SIGTERM or Ctrl-C.")
    parser.add_argument("--listen", metavar="HOST:PORT", help="for workers (UDP) and HTTPS (TCP); port 0: any free one")
    parser.add_argument("--http-loopback", metavar="PORT", help="plain HTTP on 127.0.0.1 as well; 0: none")
    parser.add_argument("--public", action="append", metavar="HOST[:PORT]", help="address that join tokens name")
    parser.add_argument("--name", help="the name that workers and people see")
    parser.add_argument("--log-level", metavar="LEVEL", help=", ".join(LOG_LEVELS))


def run(args: argparse.Namespace, shell: Shell) -> int:
    flags = {
        LISTEN.key: args.listen,
        HTTP_LOOPBACK.key: args.http_loopback,
        PUBLIC.key: args.public,
        NAME.key: args.name,
        LOG_LEVEL.key: args.log_level,
    }
    config = load_config(shell.folder, flags, shell.environment)
    shell.folder.require()
    from coordinator.app import run as run_coordinator  # the servers are not needed by any other command

    run_coordinator(config)
    return 0
