"""What is said of a setting, once: its type, bounds, default, help text, and what another value changes.

A model of settings is a pydantic class whose every field holds a `Setting`. Text, YAML or Python values come in,
checked values go out; no front end and no job comes in here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
