"""The runner: one process that links a machine to its coordinator and runs jobs in sandboxes. Never imports torch."""
