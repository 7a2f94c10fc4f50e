"""The app updates itself: when, how far, and into which version it starts."""
