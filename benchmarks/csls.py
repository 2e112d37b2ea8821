"""csls against simcore: what it costs, and what it chooses where the answer is known.

`python -m benchmarks.csls cost [ROWS DIM BUDGET]` over a synthetic pool (a million rows of 128 dimensions, 1% unless
told), 700 target rows: `K` of simcore and `T` of csls. Floors: the pool read once, and the float32 matrix products that
every row needs. Every measurement has a process of its own, and one thread; seconds are those of the processor, since
other work may share it.

`python -m benchmarks.csls quality TINY GROCERY EMBEDDINGS` over the groups of `benchmarks/groups.py`; an empty folder
name leaves its groups out. R is the number of relevant rows. Precision: the relevant share of what is chosen. Coverage:
the share of the group's classes of which at least one row, or five, are chosen. Evenness: the entropy of the classes of
the relevant rows chosen, over that of equal shares.

Both append a line of JSON for each line of the table to the file that `--results FILE` names.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.groups import Group, load_groups
from benchmarks.index import make_pool
from benchmarks.measure import measure
from benchmarks.synthetic import draw_target, make_mixture
from curator.float16 import widen
from curator.search import MemoryPool
from curator.selection import (
    PoolSample,
    Rules,
    Selection,
    find_centroids,
    select_csls,
    select_knn,
    select_random,
    select_simcore,
)
from curator.store import PartStore

TARGETS = 700
BLOCK_ROWS = 3000
SEED = 0


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", help="a file to append JSON lines to")
    commands = parser.add_subparsers(dest="command", required=True)
    of_cost = commands.add_parser("cost")
    of_cost.add_argument("sizes", nargs="*", type=float, default=(1_000_000, 128, 0.01), metavar="ROWS DIM BUDGET")
    of_quality = commands.add_parser("quality")
    of_quality.add_argument("folders", nargs=3, metavar="FOLDER", help="TINY GROCERY EMBEDDINGS")
    args = parser.parse_args()
    if args.command == "cost":
        rows, dim, budget = args.sizes
        lines = cost(int(rows), int(dim), budget)
    else:
        lines = quality(*args.folders)
    for line in lines:
        if args.results:
            _append(args.results, {"benchmark": f"csls {args.command}", **line})


def _append(path: str, line: dict[str, Any]) -> None:
    from benchmarks.data import describe_machine  # here, since torch would count in every measurement

    about = {"date": time.strftime("%Y-%m-%d"), "device": describe_machine(), "numpy": np.__version__}
    with Path(path).open("a") as file:
        file.write(json.dumps(line | about) + "\n")


def cost(rows: int, dim: int, budget: float) -> Iterator[dict[str, Any]]:
    """Seconds and memory, with the products' seconds beside them."""
    print(f"{rows:,} x {dim}, {TARGETS} target rows, budget {budget:.1%}\n")
    print("| what | CPU seconds | MB | passes |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="curator-csls-") as run:
        measure(make_pool, run, rows, dim)
        measure(write_target, run, rows, dim)
        functions = (simcore, csls, products_of_simcore, products_of_csls, first_products_of_csls)
        seconds = {}
        for function in functions:
            measured = measure(on_one_thread, function, run, int(budget * rows))
            name = function.__name__.replace("_", " ")
            passes, seconds[name] = measured.result
            print(f"| {name} | {seconds[name]:.1f} | {measured.anonymous:,.0f} | {passes} |", flush=True)
            yield {
                "rows": rows,
                "dim": dim,
                "budget": budget,
                "what": name,
                "cpu_seconds": round(seconds[name], 2),
                "passes": passes,
                "mb": round(measured.anonymous),
            }
        ratios = (("simcore", "products of simcore"), ("csls", "products of csls"), ("csls", "simcore"))
        print("\n" + "; ".join(f"{one} takes {seconds[one] / seconds[other]:.2f} x {other}" for one, other in ratios))


def on_one_thread(function: Callable[[str, int], int], run: str, budget: int) -> tuple[int, float]:
    """What a function returns, and the seconds of the processor that it took."""
    with threadpool_limits(1):
        started = time.process_time()
        result = function(run, budget)
        return result, time.process_time() - started


def write_target(run: str, rows: int, dim: int) -> None:
    """Target rows beside the pool."""
    np.save(Path(run, "target.npy"), draw_target(make_mixture(rows, dim, SEED), TARGETS, SEED))


def simcore(run: str, budget: int) -> int:
    """How often the pool was read."""
    return select_simcore(_pool(run), find_centroids(_target(run), None, SEED), Rules(budget=budget)).passes


def csls(run: str, budget: int) -> int:
    """How often the pool was read, apart from the sample."""
    return select_csls(_pool(run), _target(run), Rules(budget=budget)).passes


def products_of_simcore(run: str, budget: int) -> int:
    """Every row read, and multiplied with the target rows."""
    return _multiply(run, [find_centroids(_target(run), None, SEED)])


def products_of_csls(run: str, budget: int) -> int:
    """Every row read, brought into the space, and multiplied with the target rows and with all of the sample."""
    return _multiply(run, _matrices(run, 1))


def first_products_of_csls(run: str, budget: int) -> int:
    """The same with the part of the sample that every row is compared with."""
    return _multiply(run, _matrices(run, 6))


def _matrices(run: str, step: int) -> list[NDArray[np.float32]]:
    sample = PoolSample.draw(_pool(run))
    space = sample.space
    return [space.directions, np.vstack([space.place(_target(run)), space.place(sample.rows)[::step]])]


def _multiply(run: str, matrices: list[NDArray[np.float32]]) -> int:
    for _, rows in _pool(run).parts():
        for start in range(0, len(rows), BLOCK_ROWS):
            product = widen(rows[start : start + BLOCK_ROWS]).T
            for matrix in matrices:
                product = matrix @ product
    return 1


def _pool(run: str) -> PartStore:
    return PartStore(f"{run}/pool")


def _target(run: str) -> NDArray[np.float16]:
    target: NDArray[np.float16] = np.load(Path(run, "target.npy"))
    return target


def quality(tiny: str, grocery: str, embeddings: str) -> Iterator[dict[str, Any]]:
    """What each selector chooses of R/4 and of R rows."""
    columns = ("precision", "coverage of 1", "of 5", "evenness")
    print(f"| group | selector | budget | {' | '.join(columns)} |\n|{'---|' * 7}")
    for group in load_groups(tiny, grocery, embeddings, SEED):
        sample = PoolSample.draw(MemoryPool(group.pool))
        for name, budget in (("R/4", group.relevant.sum() // 4), ("R", group.relevant.sum())):
            for selector in ("csls", "simcore", "knn", "random"):
                figures = judge(group, choose(selector, group, int(budget), sample).ids)
                cells = " | ".join(f"{figure:.3f}" for figure in figures.values())
                print(f"| {group.name} | {selector} | {name} = {budget:,} | {cells} |", flush=True)
                yield {"group": group.name, "selector": selector, "budget": name, "rows": int(budget)} | figures


def choose(selector: str, group: Group, budget: int, sample: PoolSample) -> Selection:
    """The selection of one of the selectors."""
    pool, rules = MemoryPool(group.pool), Rules(budget=budget)
    if selector == "csls":
        return select_csls(pool, group.target, rules, sample=sample)
    if selector == "simcore":
        return select_simcore(pool, find_centroids(group.target, None, SEED), rules)
    if selector == "knn":
        return select_knn(pool, group.target, rules)
    return select_random(pool, rules, seed=SEED)


def judge(group: Group, ids: NDArray[np.int64]) -> dict[str, float]:
    """Precision, coverage by one and by five, and evenness of chosen rows."""
    every = np.unique(group.classes[group.relevant])
    chosen = group.classes[ids[group.relevant[ids]]]
    counts = np.array([np.count_nonzero(chosen == number) for number in every])
    shares = counts[counts > 0] / max(1, counts.sum())
    entropy = -float(np.sum(shares * np.log(shares)))
    return {
        "precision": float(group.relevant[ids].mean()),
        "coverage1": float((counts >= 1).mean()),
        "coverage5": float((counts >= 5).mean()),
        "evenness": entropy / float(np.log(len(every))) if len(every) > 1 else 1.0,
    }


if __name__ == "__main__":
    main()
