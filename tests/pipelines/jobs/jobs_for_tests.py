"""What the tests of the jobs share: small data, a server that can hold a shard back, drivers, comparisons."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curator.images import HEAD
from curator.index import IndexStore, MergeTask, PieceTask
from curator.io import storage
from curator.store.done_mark import DoneMark
from curator.store.part_store import PartStore
from curator_pipelines.executors import InProcessExecutor, Task, WorkerContext
from curator_pipelines.jobs.queries.verify_run import verify
from curator_pipelines.run import Reporter
from curator_pipelines.stages.embed import EmbedStage, EmbedTask
from curator_pipelines.stages.index import IndexStage, MergeStage
from curator_pipelines.stages.pack import PackStage
from curator_pipelines.stages.scan import ScanStage

ROOT = Path(__file__).parents[3]
MARKER = b"CURATOR-CRASHES-HERE"
PATIENCE = 300.0
ENCODER = {"encoder": "timm:test_efficientnet", "weights": "random", "device": "cpu", "precision": "fp32"}

Entries = list[tuple[str, bytes]]


# ---- data


def picture(seed: int, kind: str = "PNG", side: int = 48) -> bytes:
    """A picture with some structure, so that embeddings of different seeds differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((side, side + seed % 5), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def tar_bytes(entries: Entries) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def entries_of(first: int, count: int) -> Entries:
    """Samples of an image and a caption, in three formats, with keys that start anew in every shard."""
    kinds = ("PNG", "JPEG", "WEBP")
    return [
        entry
        for index in range(count)
        for entry in [
            (f"{index:04d}.{kinds[index % 3].lower()}", picture(first + index, kinds[index % 3])),
            (f"{index:04d}.txt", f"caption of {first + index}".encode()),
        ]
    ]


def write_data(folder: Path) -> None:
    """`folder/target/*.png` (9) and `folder/pool-{0..3}.tar` (10 + 36 + 6 + 8 samples, one of them damaged)."""
    (folder / "target" / "deep").mkdir(parents=True)
    for number in range(9):
        inside = "deep/" if number % 2 else ""
        (folder / "target" / f"{inside}{number}.png").write_bytes(picture(number))
    shards = [entries_of(100, 10), entries_of(200, 36), entries_of(300, 6), entries_of(400, 8)]
    shards[0][4] = ("0002.png", b"\x89PNG\r\n\x1a\n and nothing more")
    # Equal images in two shards: equal scores, whose order is that of their ids.
    shards[3][2] = ("0001.png", picture(205, "PNG"))
    shards[1][2] = ("0001.png", picture(205, "PNG"))
    for number, entries in enumerate(shards):
        (folder / f"pool-{number}.tar").write_bytes(tar_bytes(entries))


def copy_tree(url: str, target: str) -> None:
    """Copy every file below a URL."""
    for name, _ in storage.list_tree(url):
        storage.write_bytes(storage.join(target, name), storage.read_bytes(storage.join(url, name)))


# ---- comparisons


def files_of(out: str) -> dict[str, bytes]:
    """What must be the same bytes: all but run.json, events, reports and sheets; of done-marks their names, not times.

    hardware.json is of clusters alone.

    Arrays and metadata under their names without identities, which also tell where the sources are.
    """
    names = [
        name
        for name, _ in storage.list_tree(out)
        if not name.endswith(("report.html", "contact_sheet.jpg")) and not name.startswith("events/")
    ]
    found = {without_identity(name): storage.read_bytes(storage.join(out, name)) for name in names}
    assert len(found) == len(names), "two files of one part"
    found.pop("run.json")
    found.pop("hardware.json", None)
    return {name: b"" if "/done/" in name else data for name, data in found.items()}


def differing(ours: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> list[str]:
    """Names of files that are not in both, or not the same."""
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def assert_same_bytes(out: str, reference: str) -> None:
    names = differing(files_of(out), files_of(reference))
    assert not names, f"{out} differs from {reference} in {names}"


def ledger(out: str) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(storage.read_bytes(storage.join(out, "quarantine.parquet")))).to_pylist()


def table(out: str, *names: str) -> list[dict[str, Any]]:
    """The rows of a parquet file; a part's metadata may be named without its identity."""
    url = storage.join(out, *names)
    folder, _, name = url.rpartition("/")
    (stored,) = [found for found in storage.list_names(folder) if without_identity(found) == without_identity(name)]
    return pq.read_table(io.BytesIO(storage.read_bytes(storage.join(folder, stored)))).to_pylist()


def without_identity(name: str) -> str:
    """The name of an array or of metadata without the hash of what it was made from."""
    return re.sub(r"((?:img_emb|metadata)_\d{8})-[0-9a-f]{16}\.", r"\1.", name)


def part_file(out: Path | str, folder: str, part: int) -> Path:
    """The one file of a part in a folder such as `pool/img_emb`."""
    (path,) = Path(out, folder).glob(f"*{part:08d}-*")
    return path


def packed_samples(out: str) -> dict[str, list[dict[str, bytes]]]:
    """Output shard -> its samples in order, each as extension -> bytes, by Python's own reader."""
    shards: dict[str, list[dict[str, bytes]]] = {}
    for name in storage.list_names(storage.join(out, "shards")):
        if not name.endswith(".tar"):
            continue
        samples: dict[str, dict[str, bytes]] = {}
        with tarfile.open(fileobj=io.BytesIO(storage.read_bytes(storage.join(out, "shards", name)))) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                samples.setdefault(key, {})[extension] = file.read()
        shards[name] = list(samples.values())
    return shards


def inodes(folder: Path) -> dict[str, tuple[int, int]]:
    """Relative path -> (inode, mtime) of every file: tells a rewritten file from one that was left alone."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def temporaries(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(f"*{storage.TEMPORARY}*")]


# ---- executors


class Reversed(InProcessExecutor):
    """Runs the last task first."""

    def map(self, stage: Any, tasks: Iterable[Any], **settings: Any) -> Any:
        numbered = [Task(number, task) for number, task in enumerate(tasks)]
        return super().map(stage, reversed(numbered), **settings)


class Interrupted(InProcessExecutor):
    """Ctrl-C after every second outcome."""

    def map(self, stage: Any, tasks: Iterable[Any], **settings: Any) -> Any:
        for number, outcome in enumerate(super().map(stage, tasks, **settings)):
            yield outcome
            if number == 1:
                raise KeyboardInterrupt


class CountsTasks(InProcessExecutor):
    """Remembers the payloads of all tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: list[Any] = []

    def map(self, stage: Any, tasks: Iterable[Any], **settings: Any) -> Any:
        tasks = list(tasks)
        self.payloads += tasks
        return super().map(stage, tasks, **settings)

    @property
    def embedded(self) -> list[str]:
        """Last piece of the name of every source that was embedded."""
        return [task.source.name.rpartition("/")[2] for task in self.payloads if isinstance(task, EmbedTask)]

    @property
    def packed(self) -> int:
        return len(self.payloads) - len(self.embedded)


def _die(*arguments: object, **settings: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingEmbedStage(EmbedStage):
    """The worker dies over one part of the pool, when its array and metadata stand and its done-mark does not."""

    def open(self, context: WorkerContext) -> Callable[[Task[EmbedTask]], DoneMark]:
        embed = super().open(context)

        def embed_or_die(task: Task[EmbedTask]) -> DoneMark:
            if task.payload.source.name.endswith("pool-1.tar") and not task.attempt:
                PartStore.mark = _die  # type: ignore[method-assign]
            return embed(task)

        return embed_or_die


class DyingScanStage(ScanStage):
    """The worker dies over one task."""

    def open(self, context: WorkerContext) -> Any:
        scan = super().open(context)

        def scan_or_die(task: Task[Any]) -> Any:
            if task.number == 1 and not task.attempt:
                _die()
            return scan(task)

        return scan_or_die


class HeldScanStage(ScanStage):
    """The first attempts leave `begun` beside the run directory, and wait there for `released`."""

    def open(self, context: WorkerContext) -> Any:
        scan = super().open(context)
        beside = Path(self.pool.url).parents[1]

        def scan_when_released(task: Task[Any]) -> Any:
            if not task.attempt:
                (beside / "begun").touch()
                until((beside / "released").exists, "the search may go on")
            return scan(task)

        return scan_when_released


class DyingIndexStage(IndexStage):
    """The worker dies over one piece of the index, when its files stand and its done-mark does not."""

    def open(self, context: WorkerContext) -> Any:
        build = super().open(context)

        def build_or_die(task: Task[PieceTask]) -> int:
            with pytest.MonkeyPatch.context() as patch:
                if task.payload.number == 1 and not task.attempt:
                    patch.setattr(IndexStore, "mark", _die)
                return build(task)

        return build_or_die


class DyingMergeStage(MergeStage):
    """The worker dies when it has written the pieces of a merge, and before it can tell."""

    def open(self, context: WorkerContext) -> Any:
        merge = super().open(context)

        def merge_or_die(task: Task[MergeTask]) -> int:
            rows = merge(task)
            if not task.attempt:
                _die()
            return rows

        return merge_or_die


class HeldIndexStage(IndexStage):
    """The worker leaves `begun` beside the run directory at that moment of piece 2, and waits to be killed."""

    def open(self, context: WorkerContext) -> Any:
        build = super().open(context)

        def wait(*arguments: object) -> None:
            (Path(self.pool.url).parents[1] / "begun").touch()
            time.sleep(PATIENCE)

        def build_or_wait(task: Task[PieceTask]) -> int:
            if task.payload.number == 2:
                IndexStore.mark = wait  # type: ignore[method-assign]
            return build(task)

        return build_or_wait


class DyingPackStage(PackStage):
    """The worker dies over one output shard, when its tar stands and its done-mark does not."""

    def open(self, context: WorkerContext) -> Any:
        pack = super().open(context)

        def pack_or_die(task: Task[Any]) -> Any:
            if task.number == 1 and not task.attempt:
                pq.write_table = _die
            return pack(task)

        return pack_or_die


# ---- a server that can hold a shard back


class ShardServer:
    """Serves a folder on loopback. A shard may be held back, or fail, when its data is asked for.

    Attributes:
        version: another one is another ETag of every file, as where all were written again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held = ""
        self.failing = ""
        self.status = 403
        self.version = ""
        self.expires_after: int | None = None
        self.expired = False
        self.shards_asked: set[str] = set()
        self.reached = threading.Event()
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Hold back `name`; `reached` says that someone waits for it. Released at the end, or by `released`."""
        self.reached.clear()
        self.released.clear()
        self.held = name
        try:
            yield
        finally:
            self.held = ""
            self.released.set()

    @contextmanager
    def failing_at(self, name: str, status: int = 403) -> Iterator[None]:
        """Answer with an error to whoever wants the data of `name`."""
        self.failing, self.status = name, status
        try:
            yield
        finally:
            self.failing = ""

    @contextmanager
    def expiring_after(self, shards: int) -> Iterator[None]:
        """Deny everything, as when credentials expire, once the data of so many shards was asked for."""
        self.shards_asked.clear()
        self.expires_after = shards
        try:
            yield
        finally:
            self.expires_after = None
            self.expired = False

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(server: ShardServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(with_data=False)

        def do_GET(self) -> None:
            self._answer(with_data=True)

        def _answer(self, with_data: bool) -> None:
            name = self.path.partition("?")[0].lstrip("/")
            path = server.folder / name
            if not path.is_file():
                return self._reply(404, b"", 0, with_data)
            if server.expired:
                return self._reply(403, b"", 0, with_data)
            data, asked = path.read_bytes(), self.headers.get("Range")
            start, end = 0, len(data)
            if asked:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, end = int(first), min(int(last) + 1 if last else len(data), len(data))
            # No more than `HEAD` bytes are the look at the format, before work starts.
            if with_data and end - start > HEAD:
                is_new = name not in server.shards_asked
                if is_new and server.expires_after is not None and len(server.shards_asked) >= server.expires_after:
                    server.expired = True
                    return self._reply(403, b"", 0, with_data)
                server.shards_asked.add(name)
                if name == server.failing:
                    return self._reply(server.status, b"", 0, with_data)
                if name == server.held:
                    server.reached.set()
                    server.released.wait(PATIENCE)
            self._reply(206 if asked else 200, data[start:end], len(data), with_data, start)

        def _reply(self, status: int, data: bytes, total: int, with_data: bool, start: int = 0) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("ETag", f'"{hashlib.md5((server.version + self.path).encode()).hexdigest()}"')
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start}-{start + len(data) - 1}/{total}")
                self.end_headers()
                if with_data:
                    self.wfile.write(data)
            except OSError:
                self.close_connection = True  # whoever asked was killed

    return Handler


# ---- drivers in processes of their own


@dataclass
class Driver:
    """The command in a process group of its own."""

    process: subprocess.Popen[str]

    @property
    def workers(self) -> list[int]:
        return [pid for pid in children(self.process.pid) if "spawn_main" in command_line(pid)]

    def signal_group(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def wait(self, patience: float = PATIENCE) -> tuple[int, str]:
        _, error = self.process.communicate(timeout=patience)
        return self.process.returncode, error


@contextmanager
def driver(
    arguments: list[str], program: Sequence[str] = ("-m", "curator_pipelines"), **environment: str
) -> Iterator[Driver]:
    """Start `curator ARGUMENTS`, or another program; whatever is left of it is killed at the end."""
    paths = os.pathsep.join(str(ROOT / name) for name in ("", "pipelines", "ssl"))
    process = subprocess.Popen(
        [sys.executable, *program, *arguments],
        env=os.environ | {"PYTHONPATH": paths} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Driver(process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def curator(arguments: list[str], **environment: str) -> tuple[int, str]:
    """Run `curator ARGUMENTS` to its end: exit code and what it said on stderr."""
    with driver(arguments, **environment) as started:
        return started.wait()


def flags(**values: object) -> list[str]:
    """Settings as flags."""
    words: list[str] = []
    for name, value in values.items():
        flag = "--" + name.replace("_", "-")
        for one in value if isinstance(value, list) else [value]:
            if value is True:
                words.append(flag)
            elif name == "max_bad":
                words += [flag, f"{100 * float(str(one)):g}%"]
            else:
                words += [flag, str(one)]
    return words


def children(pid: int) -> list[int]:
    """Of all threads of a process; threads come and go while we look."""
    found: list[int] = []
    for task in sorted(Path(f"/proc/{pid}/task").glob("*/children")):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, task.read_text().split())
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


# ---- ready embeddings


def differences(out: Path | str) -> list[str]:
    """What `curator verify` finds wrong."""
    return verify(str(out), Reporter()).differences


def pool_parts(out: Path | str) -> list[dict[str, Any]]:
    """The rows of the pool's register."""
    return table(str(out), "pool", "parts.parquet")


def chosen(out: Path | str) -> list[dict[str, Any]]:
    """The rows of the selection, in order of choice."""
    return table(str(out), "selection", "selected.parquet")


def write_ready(
    folder: Path, arrays: list[np.ndarray], prefix: str = "k", extra: dict[str, list[str]] | None = None
) -> str:
    """clip-retrieval's layout: one array a file, with whatever columns its metadata has beside `image_path`."""
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    for number, array in enumerate(arrays):
        np.save(folder / "img_emb" / f"img_emb_{number:04d}.npy", array)
        keys = [f"{prefix}{number}-{row}" for row in range(len(array))]
        columns = pa.table({"caption": [f"of {key}" for key in keys], "image_path": keys})
        pq.write_table(columns, folder / "metadata" / f"metadata_{number:04d}.parquet")
    return str(folder)


def beside_chance(warnings: Iterable[str]) -> list[str]:
    """Warnings without those that encoders of random weights, and random rows, deserve: they find nothing."""
    deserved = ("does not find your images", "may hold nothing of this kind")
    return [warning for warning in warnings if not any(text in warning for text in deserved)]


def line_of(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Shard's file name, key and reason of a ledger row."""
    return row["shard"].rpartition("/")[2], row["key"], row["reason"]


def remove(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


# ---- an encoder


def blind_lite0(spec: Any, weights: str | None) -> Any:
    """lite0, which sees in the place of every image nearly the same grey."""
    from dataclasses import replace

    import torch

    from curator.encoders.lite0 import load_lite0
    from curator.encoders.spec import EncoderSpec

    backbone = load_lite0(EncoderSpec("lite0"), None)
    blind = torch.nn.Sequential(torch.nn.AvgPool2d(224), torch.nn.Upsample(scale_factor=224), backbone.model)
    return replace(backbone, model=blind)


def _small(name: str, features: Any) -> Any:
    """An encoder that costs nothing: features of float32 (B, 3, 32, 32)."""
    import torch

    from curator.encoders.encoder import Backbone
    from curator.images.preprocess import Preprocess

    class Features(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen: torch.Tensor = features(images)
            return seen

    preprocess = Preprocess((32, 32), (32, 32), "bilinear", (0.5,) * 3, (0.5,) * 3)
    return Backbone(Features(), preprocess, preprocess.pil_transform, architecture=name)


def sharp(spec: Any, weights: str | None) -> Any:
    """How bright an image is, row by row and column by column."""
    import torch

    def features(images: torch.Tensor) -> torch.Tensor:
        grey = images.mean(dim=1)
        profile = torch.cat([grey.mean(dim=2), grey.mean(dim=1)], dim=1)
        return profile - profile.mean(dim=1, keepdim=True)

    return _small("sharp", features)


def dull(spec: Any, weights: str | None) -> Any:
    """The same direction for every image, but for a little that has nothing to do with what it shows."""
    import torch

    def features(images: torch.Tensor) -> torch.Tensor:
        wave = torch.sin(images.mean(dim=(1, 2, 3))[:, None] * (300 + len(spec.model)) * torch.arange(1, 9))
        return torch.cat([torch.ones(len(images), 1), 0.01 * wave], dim=1)

    return _small("dull" + spec.model, features)
