"""Speed and size, as ratios against the bare engine in the same run. Run with `make bench`; not part of the tests."""
