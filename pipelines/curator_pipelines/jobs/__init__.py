"""Jobs: what a command does, from checked settings to a result.

`select` is the main line, `train` the trainer's commands, `queries` asks what other jobs left, `demo` shows it all.
"""
