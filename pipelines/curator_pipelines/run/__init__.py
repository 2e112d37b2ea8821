"""A run while it goes on and after it: its directory, its stored selection, its progress and estimates.

Jobs use it; it starts no work of its own and knows neither executors nor the command line.
"""
