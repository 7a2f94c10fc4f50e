"""`gogrid-release`: the publisher's program. It works offline; secret keys are encrypted files that only it reads."""
