"""Sandboxes on macOS: `sandbox-exec` and a guard process. Policy: `sandbox_profiles/macos.py`, `gogrid.sb`."""
