"""Sandboxes on Linux: bubblewrap, seccomp, Landlock, control groups. Policy: `sandbox_profiles/linux.py`."""
