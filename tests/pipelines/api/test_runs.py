import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from jobs_for_tests import ENCODER, PATIENCE, ROOT, beside_chance, curator as run_command, flags

import curator
from curator_pipelines.executors import InProcessExecutor
from curator_pipelines.jobs.measure import choice
from curator_pipelines.jobs.select import pack, prepare

SETTINGS: dict[str, Any] = ENCODER | {"budget": 7, "max_bad": 0.2, "clusters": 3, "shard_size": 3}


@pytest.fixture(scope="module")
def in_process() -> Iterator[None]:
    """No worker processes; the scripts below have some."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (prepare, pack, choice):
            patch.setattr(module, "make_executor", lambda *arguments, **named: InProcessExecutor())
        yield


@pytest.fixture(scope="module")
def result(data: Path, in_process: None, tmp_path_factory: pytest.TempPathFactory) -> curator.SelectResult:
    out = tmp_path_factory.mktemp("api") / "run"
    return curator.select(target=data / "target", pool=data / "pool-{0..1}.tar", out=out, **SETTINGS)


class TestSelect:
    def test_the_selection_is_the_stored_one(self, result: curator.SelectResult) -> None:
        stored = pq.read_table(Path(result.out, "selection", "selected.parquet"))
        assert len(result.selection) == 7
        assert result.selection.table().equals(stored, check_metadata=True)

        rounds = result.selection.rounds_table
        assert rounds.chosen.sum() == 7
        assert rounds.mean_score[0] == result.summary.selection["first_mean"]
        assert result.selection.verdict is not None
        assert result.selection.verdict.to_json() == result.summary.selection["verdict"]
        assert [told._asdict() for told in result.selection.thresholds] == result.summary.selection["thresholds"]
        assert [line.round for line in result.selection.around_end if line.taken][-1] == rounds.round[-1]
        assert len(result.selection.next_rows) == result.summary.selection["next"] > 30
        assert result.selection.not_reached == result.summary.selection["not_reached"]

    def test_vectors_of_the_run_give_the_same_in_memory(self, result: curator.SelectResult) -> None:
        from curator.store.part_store import PartStore

        target = np.concatenate([rows for _, rows in PartStore(f"{result.out}/target").parts()])
        again = curator.select_rows(target, PartStore(f"{result.out}/pool"), budget=7, clusters=3)

        ours = result.selection
        for name in ("ids", "scores", "anchors", "rounds"):
            assert np.array_equal(getattr(ours, name), getattr(again, name))
        assert (ours.stop_reason, ours.objective, ours.candidates) == (
            again.stop_reason,
            again.objective,
            again.candidates,
        )
        assert np.array_equal(ours.rounds_table.ratio, again.rounds_table.ratio)

    def test_shards_and_manifest_are_there(self, result: curator.SelectResult) -> None:
        assert [os.path.basename(url) for url in result.shards] == [f"curated-{n:06d}.tar" for n in range(3)]
        assert all(os.path.isfile(url) for url in [*result.shards, result.manifest])
        assert str(result).startswith("chosen      7 of 45 candidates")
        assert beside_chance(result.warnings) == []

    def test_several_targets_have_a_coreset_each(self, data: Path, in_process: None, tmp_path: Path) -> None:
        targets = [f"a={data / 'target'}", f"b={data / 'target' / 'deep'}"]
        result = curator.select(target=targets, pool=data / "pool-2.tar", out=tmp_path, **SETTINGS | {"budget": 2})

        assert {name: len(coreset.selection) for name, coreset in result.coresets.items()} == {"a": 2, "b": 2}
        assert result.coresets["b"].shards == [f"{tmp_path}/b/shards/curated-000000.tar"]
        with pytest.raises(curator.CuratorError, match=r"name one, as in coresets\['a'\]"):
            _ = result.shards

    def test_a_warning_is_pythons_unless_progress_shows_it(
        self, data: Path, in_process: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        settings = SETTINGS | {"target": data / "target", "pool": data / "pool-2.tar", "out": tmp_path, "budget": 50}
        with pytest.warns(curator.CuratorWarning, match="50 is above the 6 candidates") as told:
            result = curator.select(**settings)
        assert capfd.readouterr() == ("", "")
        assert told[0].filename == __file__
        assert sorted(str(warning.message) for warning in told) == sorted(result.warnings)

        curator.select(**settings, progress=True, redo="select")
        out, err = capfd.readouterr()
        assert out == ""
        assert "50 is above the 6 candidates" in err
        assert "select: 6 of 6 rows" in err

    def test_the_process_stays_as_it_was(self, data: Path, in_process: None, tmp_path: Path) -> None:
        import signal

        import torch

        torch.set_num_threads(1)
        torch.manual_seed(random.randrange(1000))
        before = (dict(os.environ), torch.get_rng_state().tolist(), signal.getsignal(signal.SIGTERM), os.getcwd())
        settings = SETTINGS | {"weights": None, "encoder": "warmup", "warmup_epochs": 1, "budget": 2}
        curator.select(target=data / "target", pool=data / "pool-2.tar", out=tmp_path, **settings)

        after = (dict(os.environ), torch.get_rng_state().tolist(), signal.getsignal(signal.SIGTERM), os.getcwd())
        assert before == after
        assert torch.get_num_threads() == 1


def test_pack_again(result: curator.SelectResult, data: Path, in_process: None, tmp_path: Path) -> None:
    packed = curator.pack(out=result.out, shard_size=4)

    assert [os.path.basename(url) for url in packed.shards] == ["curated-000000.tar", "curated-000001.tar"]
    assert packed.selection.ids.tolist() == result.selection.ids.tolist()
    curator.pack(out=result.out, shard_size=3)


def test_embed_once_and_select_from_it(data: Path, in_process: None, tmp_path: Path) -> None:
    embedded = curator.embed(pool=data / "pool-2.tar", out=tmp_path / "web", **ENCODER)
    assert embedded.account.embedded == 6
    result = curator.select(
        target=data / "target", pool=f"{embedded.out}/pool", out=tmp_path / "run", **ENCODER, budget=2
    )
    assert len(result.selection) == 2


def test_compare_two_runs(result: curator.SelectResult, data: Path, in_process: None, tmp_path: Path) -> None:
    given = SETTINGS | {"budget": 9, "report": False}
    other = curator.select(target=data / "target", pool=data / "pool-{0..1}.tar", out=tmp_path / "run", **given)
    found = curator.compare(runs=[result.out, other.out], out=tmp_path / "compare.html")
    assert isinstance(found, curator.Comparison)
    (overlap,) = found.overlaps
    both = set(result.selection.ids.tolist()) & set(other.selection.ids.tolist())
    assert (overlap.both, overlap.only_first, overlap.only_second) == (len(both), 7 - len(both), 9 - len(both))
    assert found.page == str(tmp_path / "compare.html") and Path(found.page).exists()
    assert str(found).startswith(f"A           {result.out}\n")
    with pytest.raises(curator.InputError, match="it is named twice"):
        curator.compare(runs=[result.out, result.out])


class TestErrors:
    def test_arrays_are_for_select_rows(self, tmp_path: Path) -> None:
        with pytest.raises(curator.InputError, match=r"^pool: give URLs, or give arrays to curator\.select_rows$"):
            curator.select(target="photos/", pool=np.zeros((3, 2)), out=tmp_path)

    @pytest.mark.parametrize(
        ("settings", "ours", "theirs"),
        [
            ({"budget": "0.5"}, "budget=", "--budget"),
            ({"stop": "off"}, "stop=", "--stop off"),
            ({"selector": "knn"}, "budget", "--budget"),
            ({"clusters": 0}, "clusters=0", "--clusters 0"),
            ({"pool": "{data}/none-*.tar"}, "nothing matches", "nothing matches"),
        ],
    )
    def test_python_names_arguments_and_the_command_line_flags(
        self, settings: dict[str, Any], ours: str, theirs: str, data: Path, tmp_path: Path
    ) -> None:
        given = {"target": str(data / "target"), "pool": str(data / "pool-2.tar"), "out": str(tmp_path)} | settings
        given["pool"] = given["pool"].replace("{data}", str(data))

        with pytest.raises(curator.InputError) as told:
            curator.select(**given)
        assert ours in str(told.value)
        assert "--" not in str(told.value)

        code, error = run_command(["select", *flags(**given)])
        assert code == 2
        assert theirs in error


SCRIPT = """
import sys
import curator

def main():
    print("runs")
    result = curator.select(target={target!r}, pool={pool!r}, out={out!r}, **{settings!r})
    print(result.selection)

"""
EXPECTED = "runs\n<Selection: 2 of 6 candidates, rounds: 1, ended by: budget>\n"


def beside_warnings(stderr: str) -> str:
    """What stands on stderr beside Python warnings of a selection, each with the line that it is about."""
    return re.sub(r"^\S+:\d+: CuratorWarning: .*\n(?:  .*\n)?", "", stderr, flags=re.MULTILINE)


class TestScripts:
    """With real worker processes."""

    @pytest.fixture
    def script(self, data: Path, tmp_path: Path) -> str:
        settings = SETTINGS | {"budget": 2}
        pool = str(data / "pool-2.tar")
        return SCRIPT.format(target=str(data / "target"), pool=pool, out=str(tmp_path / "run"), settings=settings)

    def python(self, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join(str(ROOT / name) for name in ("", "pipelines", "ssl"))
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            **settings,
        )

    @pytest.mark.parametrize(
        "call",
        [
            pytest.param("main()\n", id="plain"),
            pytest.param("if __name__ == '__main__':\n    main()\n", id="guarded", marks=pytest.mark.slow),
        ],
    )
    @pytest.mark.slow
    def test_a_file(self, script: str, call: str, tmp_path: Path) -> None:
        (tmp_path / "script.py").write_text(script + call)
        done = self.python(str(tmp_path / "script.py"))
        assert (done.stdout, beside_warnings(done.stderr)) == (EXPECTED, "")

    @pytest.mark.slow
    def test_from_stdin(self, script: str) -> None:
        done = self.python("-", input=script + "main()\n")
        assert (done.stdout, beside_warnings(done.stderr)) == (EXPECTED, "")

    @pytest.mark.slow
    def test_in_one_line(self, script: str) -> None:
        done = self.python("-c", script + "main()")
        assert (done.stdout, beside_warnings(done.stderr)) == (EXPECTED, "")

    @pytest.mark.slow
    def test_interactive(self, script: str) -> None:
        done = self.python("-i", "-q", "-c", "", input=script + "main()\n")
        assert done.stdout == EXPECTED
