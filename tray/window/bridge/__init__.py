"""What the page may ask for, and who answers."""
