"""Signed updates: what a release says, who may say it, and what a machine does about it.

`trust/` decides (bytes and `now` in, a verdict out), `release_cli/` is the publisher's program, `release_folder.py`
is what publisher and coordinator share. Nothing here imports another part of GoGrid: this must work, and be
understood alone, when everything else of a release is broken. docs/updates.md is the protocol.
"""
