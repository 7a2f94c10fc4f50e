"""Python jobs: the program that runs a script inside the sandbox, and the shell that feeds and watches it."""
