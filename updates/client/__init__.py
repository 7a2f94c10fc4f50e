"""How a machine updates itself: asks, downloads, checks, unpacks, switches, and comes back when the new one is no good.

`trust/` decides what is believed, `probation.py` which copy runs; the rest does what they say. Every step leaves a
machine that starts, the old version or the new one, whenever it is cut short. docs/updates.md tells the whole way.
"""
