"""The ground every part of GoGrid stands on: wire protocol, identities, tokens, config loading, client.

Promises: knows nothing of the coordinator, the runner or the tray; importing it starts nothing and reads nothing.
"""

__version__ = "0.1.0"
