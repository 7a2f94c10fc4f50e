"""The tray icon: a process of its own, which speaks to the desktop and decides nothing."""
