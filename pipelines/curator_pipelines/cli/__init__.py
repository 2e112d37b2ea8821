"""The `curator` command: flags in, jobs called, results printed.

One file a command. Settings are declared in the models of `config`; no default and no check stands here.
"""
