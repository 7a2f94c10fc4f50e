"""The worker's window: one small page, shown by pywebview in a process of its own."""
