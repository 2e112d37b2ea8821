"""Composition: executors, stages, jobs, the `curator` command and the functions of `import curator`.

Here curator's rooms and the trainer meet. Ray, click and rich are known here and nowhere below.
"""
