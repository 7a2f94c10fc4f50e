"""Engine packs on this machine: where they lie, which one fits, and that it is whole."""
