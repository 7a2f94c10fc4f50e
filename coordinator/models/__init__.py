"""The models on offer: what a folder must be to become one, what it will need, and the catalogue of names."""
