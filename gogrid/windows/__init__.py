"""What Windows needs to be asked in its own words: calls through ctypes, security descriptors, private files."""
