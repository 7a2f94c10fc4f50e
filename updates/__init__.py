"""Signed updates: manifests, trust, download, staging. The trust core comes with the update work."""
