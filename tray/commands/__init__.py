"""The commands of `gogrid-worker`, one family in each module; `registry.py` knows them all."""
