"""Durable jobs: on disk before they are acknowledged, run at least once, completed exactly once."""
