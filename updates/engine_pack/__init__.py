"""Engine packs: torch and what goes with it, for one system, accelerator and Python, as one signed archive."""
