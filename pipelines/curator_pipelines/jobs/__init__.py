"""Jobs: what a command does, from checked config to a result."""
