"""What a machine's owner meets of the worker: the command line, and the app with its
supervisor of the runner, its icon and its window.
"""
