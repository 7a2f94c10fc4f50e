"""Whether this worker may work now: what its owner does, and how the machine is. Cores here, eyes in `probes/`."""
