"""The commands of `gogrid`, one module each: `add` puts its parser into the command line, the rest does the work."""
