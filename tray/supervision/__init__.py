"""Keeps one runner running, and its words on disk."""
