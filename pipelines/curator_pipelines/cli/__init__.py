"""The `curator` command: flags in, jobs called, results printed."""
