import subprocess
import sys
from pathlib import Path

import pytest

from curator.io.main_module import main_module_hidden

ROOT = Path(__file__).parents[3]
SCRIPT = f"""
import multiprocessing, sys
sys.path.insert(0, {str(ROOT)!r})
from curator.io.main_module import main_module_hidden
print("main", flush=True)
process = multiprocessing.get_context("spawn").Process(target=print, args=("child",))
with main_module_hidden():
    process.start()
process.join()
"""


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_a_spawned_process_does_not_run_the_main_module(how: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    argument, text = (str(tmp_path / "script.py"), None) if how == "file" else ("-", SCRIPT)

    done = subprocess.run([sys.executable, argument], input=text, capture_output=True, text=True, timeout=300)

    assert (done.stdout, done.stderr) == ("main\nchild\n", "")


def test_the_main_module_is_put_back() -> None:
    before = sys.modules["__main__"]
    with pytest.raises(ZeroDivisionError), main_module_hidden():
        _ = 1 / 0
    assert sys.modules["__main__"] is before
