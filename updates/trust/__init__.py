"""The trust core: bytes, what was remembered and `now` go in; a verdict comes out. No I/O, no clock.

What is checked, in this order, and never skipped: each document's size, its signature, its form, its place behind what
was seen before, its expiry; then whether this machine is meant. A check that fails ends it: nothing that comes later is
looked at, nothing is installed, and what is installed goes on.
"""
