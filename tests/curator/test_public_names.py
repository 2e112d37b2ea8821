import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import curator
import curator.errors

ROOT = Path(__file__).parents[2]
NAMES = [
    "Comparison",
    "Coreset",
    "CuratorError",
    "CuratorWarning",
    "EmbedSummary",
    "InputError",
    "MemoryPool",
    "PackResult",
    "SelectResult",
    "Selection",
    "TooManyBad",
    "UnusableInput",
    "__version__",
    "compare",
    "embed",
    "load_encoder",
    "pack",
    "select",
    "select_rows",
]


def after(code: str) -> str:
    """What a fresh interpreter prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "pipelines", ROOT / "ssl")))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_public_names() -> None:
    assert curator.__all__ == NAMES
    assert set(NAMES) <= set(dir(curator))
    for name in NAMES:
        assert getattr(curator, name) is not None


def test_every_error_that_a_user_can_meet_is_public() -> None:
    raised = {name for name, value in vars(curator.errors).items() if isinstance(value, type)}
    errors = {name for name in raised if issubclass(getattr(curator.errors, name), Exception)}
    assert errors - {"SampleError"} <= set(NAMES)  # a SampleError becomes a line of the ledger


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'curator' has no attribute 'selct'"):
        _ = curator.selct  # type: ignore[attr-defined]


def test_no_module_hides_a_name() -> None:
    code = "import curator.selection, curator.packing, curator.embedding, curator, pkgutil\n"
    code += "print({name for _, name, _ in pkgutil.iter_modules(curator.__path__)} & set(curator.__all__))\n"
    code += "print(*(callable(getattr(curator, name)) for name in ('select', 'embed', 'pack')))"
    assert after(code) == "set()\nTrue True True\n"


def test_importing_it_is_cheap() -> None:
    heavy = {"numpy", "torch", "pyarrow", "pydantic", "curator_pipelines", "rich", "click", "fsspec"}
    code = "import curator, sys\nprint(*sys.modules)"
    assert not {name.partition(".")[0] for name in after(code).split()} & heavy


def test_the_functions_run_without_ray_and_faiss() -> None:
    code = "import curator, sys\n[getattr(curator, name) for name in curator.__all__]\n"
    code += "import curator_pipelines.jobs.select.select_run, curator_pipelines.executors.worker\n"
    code += "import curator_ssl.train_loop\nprint(*sys.modules)"
    assert not {name.partition(".")[0] for name in after(code).split()} & {"ray", "faiss", "click"}


def test_the_stub_is_current() -> None:
    # In a process of its own: another test may have put something in the place of a public name.
    program = "import write_python_stub as stub; print(stub.render(), end='')"
    paths = os.pathsep.join(str(ROOT / name) for name in ("docs", "", "pipelines", "ssl"))
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    stub = (ROOT / "curator" / "__init__.pyi").read_text()
    assert stub == done.stdout
    ast.parse(stub)
