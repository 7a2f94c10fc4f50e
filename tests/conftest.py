"""Settings for all tests that must be in place before the libraries they concern are imported."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads sleep between tests instead of spinning
os.environ.setdefault("HF_HUB_OFFLINE", "1")
