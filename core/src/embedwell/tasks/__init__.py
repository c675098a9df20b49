"""Work in the background: tasks with owners, threads with bounds."""
