"""Start at login: switched on and off by the machine's owner only, never by a start or an update of the app."""
