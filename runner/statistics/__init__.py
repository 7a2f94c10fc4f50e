"""What this worker did over the last hour, day and week, kept on its own disk and told to nobody else."""
