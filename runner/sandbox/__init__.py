"""Sandboxes: one seam (`base`), one launcher for each system, chosen by a self-test (`choose`). Fail closed."""
