"""The models in memory: one executor each, brought in, watched, and sent away."""
