"""Sandboxes on Windows: Job Object and restricted token, by ctypes. Policy: `sandbox_profiles/windows.py`."""
