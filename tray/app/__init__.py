"""The app behind the icon: one for each data folder, with a state, a menu, deeds, and the processes it starts."""
