"""Values put into a template: one self-contained page, which asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from curator_pipelines.jobs.pictures import Strip

__all__ = ["Page", "render"]

OWN = "curator_pipelines.jobs.report"
FOLDER = "templates"


@dataclass(frozen=True)
class Page:
    """A page, ready to be written.

    Attributes:
        html: all of it, in one file.
        pictures: how many it shows.
        missing: why pictures are missing, and how many.
        line: the strips of the line with their pictures, which the contact sheet shows too.
    """

    html: str
    pictures: int
    missing: Sequence[tuple[str, int]]
    line: Sequence[Strip] = ()


def render(template: str, *, package: str = OWN, **values: Any) -> str:
    """A page as HTML.

    Args:
        template: the name of a file in the folder `templates` of the package, or of this one.
        package: the room that the template is of; it may build on the templates of this one.
        **values: what the template shows. All text in them is escaped.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(name, FOLDER) for name in dict.fromkeys((package, OWN))]),
        # Whatever its name: keys of samples are anyone's text.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _text("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    fixed = {"style": _text("report.css"), "script": script, "script_hash": digest}
    return environment.get_template(template).render(**fixed, **values)


@cache
def _text(name: str) -> str:
    return (resources.files(OWN) / FOLDER / name).read_text()
