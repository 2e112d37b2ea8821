"""Write curator/__init__.pyi, the types of the public names, from the settings models and the functions' docstrings."""

import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import curator

STUB = Path(__file__).parents[1] / "curator" / "__init__.pyi"
START = '''\
"""The public names with their types, for editors and type checkers. `make format` writes this file anew."""

import os
from collections.abc import Sequence
from typing import Any, Literal

'''


def render() -> str:
    """The stub as text."""
    values = {name: getattr(curator, name) for name in curator.__all__}
    functions = {name: value for name, value in values.items() if hasattr(value, "__signature__")}
    imports = [
        f"from {value.__module__} import {name} as {name}\n"
        for name, value in values.items()
        if name not in functions and name != "__version__"
    ]
    text = START + "".join(sorted(imports)) + f"\n__all__ = {curator.__all__!r}\n\n__version__: str\n\n"
    return _formatted(text + "\n".join(_function(name, function) for name, function in functions.items()))


def _function(name: str, function: Any) -> str:
    signature = inspect.signature(function)
    parameters, keywords_only = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords_only:
            parameters.append("*")
            keywords_only = True
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        parameters.append(f"{parameter.name}: {_type(parameter.annotation)}{default}")
    docstring = textwrap.indent(f'"""{function.__doc__}\n"""', "    ")
    return f"def {name}({', '.join(parameters)}) -> {signature.return_annotation}:\n{docstring}\n"


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"Optional\[(.*)\]", r"\1 | None", text.replace("collections.abc.", ""))


def _formatted(text: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(STUB), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    STUB.write_text(render())
