"""What survives a restart: one SQLite file with counters, measured costs and tasks."""
