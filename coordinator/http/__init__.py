"""The HTTP surface: what comes in is parsed here, what goes out is shaped here, and nothing is decided here."""
