from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from training_for_tests import picture, write_tar

from curator.errors import InputError, Reason
from curator.io import parquet, schemas, storage
from curator.sources.find import find_sources
from curator.sources.read import read_source
from curator.sources.remarks import Remark
from curator.types import RawSample
from curator_ssl.data.sample_finder import find_samples
from curator_ssl.data.sample_reader import SampleReader
from curator_ssl.data.samples import Samples


def images_of(samples: Samples) -> list[bytes]:
    reader = SampleReader(samples)
    found = reader.read(np.arange(len(samples)))
    reader.close()
    return found


def raw(url: str) -> list[RawSample]:
    (source,) = find_sources([url], "shards", folders=False)
    return [item for item in read_source(source) if isinstance(item, RawSample)]


def write_manifest(path: Path, shards: list[str], every: int = 3) -> list[tuple[str, bytes]]:
    """The manifest of a selection that took every third sample; gives back shard and bytes of each."""
    chosen = [sample for url in shards for sample in raw(url)[::every]]
    rows = [
        {
            "out_shard": None, "out_key": None, "id": 0, "shard": sample.shard, "key": sample.key,
            "offset": sample.image.offset, "size": sample.image.size, "sha256": "", "width": 1, "height": 1,
            "score": 0.0, "centroid": 0, "round": 0, "members": [],
        }
        for sample in chosen if sample.image
    ]  # fmt: skip
    parquet.write_table(str(path), schemas.MANIFEST, rows[::-1])
    return [(sample.shard, sample.image.data or b"") for sample in chosen if sample.image]


class TestWhatIsFound:
    def test_tars(self, shards: list[str], tmp_path: Path) -> None:
        indexed = find_samples(shards[:1], shards[1:], str(tmp_path))

        assert len(indexed.samples) == 37 and indexed.samples.targets == 20 and indexed.lines == []
        assert images_of(indexed.samples) == [picture(index) for index in range(20)] + [
            picture(100 + index) for index in range(17)
        ]

    def test_shards_with_a_share_stand_last(self, shards: list[str], tmp_path: Path) -> None:
        given = [f"25%={shards[1]}", shards[0], f"50%={shards[0]}"]
        samples = find_samples([], given, str(tmp_path)).samples

        assert samples.targets == 0 and samples.shared == (17, 20)
        first, second = [picture(index) for index in range(20)], [picture(100 + index) for index in range(17)]
        assert images_of(samples) == [*first, *second, *first]
        # What stands in samples.parquet is the same.
        assert find_samples([], given, str(tmp_path)).samples.shared == (17, 20)

    def test_a_folder_of_images(self, tmp_path: Path) -> None:
        (tmp_path / "photos" / "deep").mkdir(parents=True)
        for index, name in enumerate(("b.png", "deep/a.png", "c.png")):
            (tmp_path / "photos" / name).write_bytes(picture(index))

        samples = find_samples([str(tmp_path / "photos")], [], str(tmp_path / "out")).samples

        assert images_of(samples) == [picture(0), picture(2), picture(1)]
        assert samples.describe(2) == (str(tmp_path / "photos"), "deep/a.png", 0)

    @pytest.mark.parametrize("as_folder", [False, True])
    def test_a_manifest_reads_the_pool_by_ranges(self, as_folder: bool, shards: list[str], tmp_path: Path) -> None:
        chosen = write_manifest(tmp_path / "manifest.parquet", shards)
        given = str(tmp_path) if as_folder else str(tmp_path / "manifest.parquet")

        samples = find_samples([], [given], str(tmp_path / "out")).samples

        # In the order of the disk, whatever the order of the manifest.
        assert images_of(samples) == [data for _, data in chosen]
        assert [samples.describe(number)[0] for number in range(len(samples))] == [shard for shard, _ in chosen]

    def test_a_packed_folder_is_what_sizes_json_says(self, shards: list[str], tmp_path: Path) -> None:
        for number, name in enumerate(("curated-000000.tar", "stray.tar")):
            (tmp_path / name).write_bytes(Path(shards[number]).read_bytes())
        write_manifest(tmp_path / "manifest.parquet", shards)
        with pytest.raises(InputError, match="not packed to its end"):
            find_samples([], [str(tmp_path)], str(tmp_path / "out"))

        (tmp_path / "sizes.json").write_text(json.dumps({"curated-000000.tar": 20}))
        assert len(find_samples([], [str(tmp_path)], str(tmp_path / "out")).samples) == 20

    def test_damage_is_in_the_ledger(self, shards: list[str], tmp_path: Path) -> None:
        cut = tmp_path / "cut.tar"
        data = Path(shards[0]).read_bytes()
        cut.write_bytes(data[: len(data) // 2])

        indexed = find_samples([str(cut)], [], str(tmp_path / "out"))

        assert [line.reason for line in indexed.lines] == [Reason.TRUNCATED]
        assert 5 < len(indexed.samples) < 20

    def test_objects_of_a_store(self, shards: list[str], s3_bucket: str, tmp_path: Path) -> None:
        storage.write_bytes(f"{s3_bucket}/a.tar", Path(shards[0]).read_bytes())

        samples = find_samples([f"{s3_bucket}/a.tar"], [], str(tmp_path)).samples

        assert images_of(samples) == [picture(index) for index in range(20)]


class TestOnce:
    def test_what_is_left_out_and_remarked_is_known_again(self, tmp_path: Path) -> None:
        folder = tmp_path / "photos"
        folder.mkdir()
        (folder / "a.png").write_bytes(picture(1))
        (folder / "b.pdf").write_bytes(b"%PDF")
        with tarfile.open(tmp_path / "s.tar", "w") as tar:
            for number in range(2):
                (tmp_path / "x.png").write_bytes(picture(number))
                tar.add(tmp_path / "x.png", f"2021.{number}.png")
        for _ in range(2):
            found = find_samples([str(folder)], [str(tmp_path / "s.tar")], str(tmp_path / "run"))
            assert found.left_out == {".pdf": 1}
            assert found.samples.remarks.counts == {Remark.DOTTED_KEYS: 2}

    def test_a_second_run_reads_no_source(
        self, shards: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = find_samples(shards, [], str(tmp_path)).samples
        monkeypatch.setattr("curator_ssl.data.sample_finder.read_source", lambda *a, **k: pytest.fail("scanned again"))

        again = find_samples(shards, [], str(tmp_path)).samples

        assert again.identity() == first.identity()
        assert images_of(again) == images_of(first)

    def test_a_changed_source_of_a_run_under_way(self, tmp_path: Path) -> None:
        write_tar(tmp_path / "a.tar", {"a.png": picture(0)})
        find_samples([str(tmp_path / "a.tar")], [], str(tmp_path / "out"))
        (tmp_path / "out" / "checkpoint.pt").write_bytes(b"")
        write_tar(tmp_path / "a.tar", {"a.png": picture(0), "b.png": picture(1)})

        with pytest.raises(InputError, match="other samples"):
            find_samples([str(tmp_path / "a.tar")], [], str(tmp_path / "out"))

    def test_another_manifest_of_the_same_shards(self, shards: list[str], tmp_path: Path) -> None:
        manifest = tmp_path / "manifest.parquet"
        for every in (3, 2):
            chosen = write_manifest(manifest, shards, every)
            samples = find_samples([], [str(manifest)], str(tmp_path / "out")).samples
            assert images_of(samples) == [data for _, data in chosen]

    def test_the_same_shards_in_another_part(self, shards: list[str], tmp_path: Path) -> None:
        for target, count in ((1, 20), (2, 37)):
            samples = find_samples(shards[:target], shards[target:], str(tmp_path)).samples
            assert samples.targets == count

    def test_a_manifest_that_was_written_anew(self, shards: list[str], tmp_path: Path) -> None:
        manifest, out = tmp_path / "manifest.parquet", tmp_path / "out"
        write_manifest(manifest, shards)
        find_samples([], [str(manifest)], str(out))
        (out / "checkpoint.pt").write_bytes(b"")
        kept = (out / "samples.parquet").read_bytes()

        # The same choice is the same run; another is another.
        write_manifest(manifest, shards)
        find_samples([], [str(manifest)], str(out))
        write_manifest(manifest, shards, every=2)
        with pytest.raises(InputError, match="other samples"):
            find_samples([], [str(manifest)], str(out))
        assert len((out / "samples.parquet").read_bytes()) == len(kept)


@pytest.mark.parametrize(("target", "message"), [([], "missing"), (["nothing.tar"], "no such file")])
def test_bad_input(target: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        find_samples(target, [], str(tmp_path))
