"""The worker program that a machine's owner meets: the command line, the supervisor of the runner and, later, the icon."""
