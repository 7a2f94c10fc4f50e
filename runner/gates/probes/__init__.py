"""The gates' eyes: thin, one for each thing on each system. What they see is decided on elsewhere."""
