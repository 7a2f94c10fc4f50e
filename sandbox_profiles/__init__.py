"""Sandbox policy as data. Imports nothing of GoGrid and decides nothing: launchers read it and enforce it."""
