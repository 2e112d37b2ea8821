import shutil
from pathlib import Path

from curator.io import storage
from curator_pipelines.executors.shared_storage import SharedFolder, answer_from_node


def test_a_node_that_reaches_the_folder(tmp_path: Path) -> None:
    shared = SharedFolder(str(tmp_path / "runs" / "one"))
    assert shared.folder == tmp_path  # the run directory is still to be made

    assert answer_from_node(shared.ask(), "some node") == ""
    assert shared.is_answered("some node")
    shared.close()

    assert not list(tmp_path.iterdir())


def test_a_node_without_the_folder(tmp_path: Path) -> None:
    question = SharedFolder(str(tmp_path)).ask()
    shutil.rmtree(tmp_path)

    assert (
        answer_from_node(question, "some node")
        == f"{tmp_path} cannot be read and written there (No such file or directory)"
    )


def test_a_node_with_another_folder_of_that_name(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    shared = SharedFolder(str(here))
    question = Path(shared.ask())
    copied = there / question.name
    copied.write_text("of an older run")

    assert answer_from_node(str(copied), "some node") == ""
    assert not shared.is_answered("some node")


def test_what_a_killed_run_leaves_is_swept(tmp_path: Path) -> None:
    answer_from_node(SharedFolder(str(tmp_path)).ask(), "some node")

    storage.remove_temporaries(str(tmp_path))

    assert not list(tmp_path.iterdir())
