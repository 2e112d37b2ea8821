"""Write docs/front.jpg, the picture of the README, and docs/front.json, what it shows. Needs CURATOR_TEST_DATA.

    PYTHONPATH=.:pipelines:ssl python docs/front_picture.py [FOLDER]

A target of grocery cartons, a pool of groceries, clothing and clip-art, and one real `curator select`. Nothing is
picked by hand: target and pool are drawn by a seed, and the chosen are the first in order of choice. 60 thumbnails.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from benchmarks.warmup import CARTONS

FOLDER = Path(__file__).parent
DATA = Path(os.environ.get("CURATOR_TEST_DATA", "../shared/data"))
POOL = "pool-{000000..000002}.tar"
BUDGET = 150
COLUMNS, SIDE, GAP, TITLE = 12, 96, 6, 34
TARGETS, DRAWN, CHOSEN = COLUMNS, 2 * COLUMNS, 2 * COLUMNS
SEED = 0
# As it stands in the README.
COMMAND = f"curator select --target cartons/ --pool '{POOL}' --budget {BUDGET}"


def samples(paths: Iterable[Path]) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Key -> image and label of every sample."""
    members: dict[str, dict[str, bytes]] = {}
    for path in paths:
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ext = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                members.setdefault(key, {})[ext] = file.read()
    return {
        key: (next(found[ext] for ext in found if ext != "json"), json.loads(found["json"]))
        for key, found in members.items()
    }


def is_carton(label: dict[str, Any]) -> bool:
    """Whether a photo shows a carton: for counting, never for choosing."""
    return label.get("coarse") in CARTONS


def select(target: Path, out: str) -> list[str]:
    """The keys of the chosen ones, in order of choice."""
    flags = ["--target", str(target), "--pool", f"{DATA}/{POOL}", "--budget", str(BUDGET), "--out", out, "--no-report"]
    subprocess.run([sys.executable, "-m", "curator_pipelines", "select", *flags], check=True)
    keys: list[str] = pq.read_table(f"{out}/selection/selected.parquet")["key"].to_pylist()
    return keys


def strip(images: Sequence[bytes], title: str) -> Image.Image:
    """Thumbnails in rows, below a title."""
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, TITLE + rows * (SIDE + GAP) + GAP), "white")
    ImageDraw.Draw(sheet).text((GAP, 8), title, "#222222", ImageFont.load_default(18))
    for number, data in enumerate(images):
        row, column = divmod(number, COLUMNS)
        image = Image.open(io.BytesIO(data)).convert("RGBA")
        image.thumbnail((SIDE, SIDE))
        place = (GAP + column * (SIDE + GAP) + (SIDE - image.width) // 2, TITLE + row * (SIDE + GAP))
        sheet.paste(image, place, image)
    return sheet


def stacked(strips: Iterable[Image.Image]) -> Image.Image:
    """One below the other."""
    parts = list(strips)
    whole = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    return whole


def main() -> None:
    """Write the picture and what it shows."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    mine = {key: data for key, (data, label) in samples([DATA / "target-000000.tar"]).items() if is_carton(label)}
    pool = samples(DATA / f"pool-{number:06d}.tar" for number in range(3))
    with tempfile.TemporaryDirectory() as work:
        target = Path(work) / "cartons"
        target.mkdir()
        for key, data in mine.items():
            (target / f"{key}.jpg").write_bytes(data)
        chosen = select(target, f"{work}/run")
    chance = random.Random(SEED)
    shown = {
        "target": chance.sample(sorted(mine), TARGETS),
        "pool": chance.sample(sorted(pool), DRAWN),
        "chosen": chosen[:CHOSEN],
    }
    cartons = sum(is_carton(pool[key][1]) for key in chosen)
    share = sum(is_carton(label) for _, label in pool.values()) / len(pool)
    titles = {
        "target": f"Your images: {len(mine)} photos of cartons",
        "pool": f"The pool: {len(pool):,} images, of which {share:.0%} are cartons; drawn at random",
        "chosen": f"What curator chose first, of {len(chosen)}: {cartons} of them are cartons",
    }
    of_pool = {key: data for key, (data, _) in pool.items()}
    images = {"target": mine, "pool": of_pool, "chosen": of_pool}
    picture = stacked(strip([images[name][key] for key in shown[name]], titles[name]) for name in shown)
    picture.save(folder / "front.jpg", quality=85, optimize=True)
    record = {"command": COMMAND, "cartons": cartons, "chosen": len(chosen), "pool": len(pool), "shown": shown}
    record["cartons_in_pool"] = sum(is_carton(label) for _, label in pool.values())
    (folder / "front.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
