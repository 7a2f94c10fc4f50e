"""One file per migration, named by its revision; a landed one never changes."""
