"""`python -m curator_pipelines` is `curator`, and so is `coreset-curator`.

Nothing of curator is imported before it is known to be ours.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

__all__ = ["main"]

# Its files lie in a package of the same name, so that whichever is installed last overwrites the other's.
NAMESAKE = "elasticsearch-curator"


def main() -> None:
    """Run the command, unless another program's files are mixed with curator's."""
    if folder := mixed_folder():
        print(
            f"curator: {NAMESAKE} is installed into the same folder ({folder}), and each overwrites the other's files: "
            "give coreset-curator a virtual environment of its own, or run 'uvx coreset-curator'",
            file=sys.stderr,
        )
        sys.exit(2)
    from curator_pipelines.cli.main import main as run

    run()


def mixed_folder() -> Path | None:
    """The folder of the package `curator`, if the other program's files are in it; None if all is well."""
    try:
        distribution = importlib.metadata.distribution(NAMESAKE)
    except importlib.metadata.PackageNotFoundError:
        return None
    spec = importlib.util.find_spec("curator")
    folders = [Path(name).resolve() for name in (spec and spec.submodule_search_locations) or ()]
    theirs = Path(str(distribution.locate_file("curator"))).resolve()
    return theirs if theirs in folders else None


if __name__ == "__main__":
    main()
