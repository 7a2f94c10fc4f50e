"""The coordinator's one folder of state: blobs, backups, what is forgotten, and whether there is room."""
