"""Who gets what: the scheduler and its rules, and the shell around them."""
