"""What this machine can compute with, found out once and said in words."""
