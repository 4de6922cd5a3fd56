"""What async modes share: worker pools, timers, and the news that the process is about to end."""
