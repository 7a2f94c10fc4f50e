"""What a machine's owner meets of the worker: the command line, the supervisor of the runner and, later, the icon."""
