from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# pytest's import mode would hide helpers beside the tests.
sys.path.insert(0, str(Path(__file__).parent))

from inputs_for_tests import Curator, Ran

from curator.encoders import load as load_module
from curator_pipelines.cli.main import run
from curator_pipelines.executors import InProcessExecutor


@pytest.fixture(scope="module", autouse=True)
def in_process() -> Iterator[None]:
    """No worker processes; one encoder for all, whose preprocessing is compared with no other."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("select.prepare", "select.pack", "measure.measure_run", "measure.choice"):
            patch.setattr(f"curator_pipelines.jobs.{module}.make_executor", lambda *arguments: InProcessExecutor())
        patch.setattr("curator.encoders.check_preprocess.lowest_cosine", lambda encoder, images: 1.0)
        patch.setattr("curator.embedding.crash_probe.sound_images", list)
        load = load_module.load_encoder
        once = functools.cache(load)

        def load_encoder(spec: str, **named: Any) -> Any:
            return (once if named.get("weights") == "random" else load)(spec, **named)

        patch.setattr(load_module, "load_encoder", load_encoder)
        yield


@pytest.fixture
def curator(capsys: pytest.CaptureFixture[str]) -> Curator:
    """`curator WORDS`, in this process."""

    def call(*words: object) -> Ran:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call
