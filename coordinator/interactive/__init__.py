"""Requests that somebody waits for: answered at once, moved when their worker is lost."""
