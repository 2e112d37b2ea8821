"""What is said of a setting, once: its type, bounds, default, help text, and what another value changes.

A model of settings is a pydantic class whose every field holds a `Setting`. Text, YAML or Python values come in,
checked values go out; no front end and no job comes in here.
"""
