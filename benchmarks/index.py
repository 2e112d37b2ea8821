"""The index against exact search and against plain faiss: what is missed, what is read, what it costs.

`python -m benchmarks.index [ROWS DIM [FOLDER]]` over a synthetic pool (100,000 x 128), kept in FOLDER if one is given;
`python -m benchmarks.index POOL TARGET` over embeddings of two runs, such as RUN/pool and RUN/target;
`python -m benchmarks.index honest [ROWS DIM]` says how often the true recall lies in the interval told;
`python -m benchmarks.index seeds [ROWS DIM]` says over 20 seeds how much is read for 0.99, and what is found;
`python -m benchmarks.index codes [ROWS DIM]` compares indexes that keep rows, SQ8 and PQ codes.

Every measurement has a process of its own. Files are in the page cache, since they were just written.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Measured, measure
from benchmarks.synthetic import draw_target, make_mixture
from curator.index import TRAIN_ROWS, IndexStore, default_lists, import_faiss, sample_rows, select_ivf
from curator.io import part_files, storage
from curator.selection import Rules, find_centroids, select_simcore
from curator.store import DoneMark, PartStore, RowReader
from curator_pipelines.config import IndexConfig, build
from curator_pipelines.jobs.select import run_index
from curator_pipelines.run import Reporter

PART_ROWS = 100_000
TARGET_ROWS = 2_000
CLUSTERS = 100
RECALLS = (0.9, 0.99)
SEED = 0
HONEST_SEEDS = 20


def main() -> None:
    """Print the table."""
    args = sys.argv[1:]
    tables = {"honest": honest, "seeds": seeds, "codes": codes}
    if args and args[0] in tables:
        tables[args[0]](*map(int, args[1:]))
        return
    with tempfile.TemporaryDirectory(prefix="curator-index-") as folder:
        if args and not args[0].isdigit():
            run, budgets = _real(folder, *args), (0.01, 0.1)
        else:
            rows, dim = (int(args[0]), int(args[1])) if args else (100_000, 128)
            run, budgets = (args[2] if len(args) > 2 else folder), (0.001, 0.01)
            measure(make_pool, run, rows, dim)
        _compare(run, budgets)


def make_pool(run: str, rows: int, dim: int, part_rows: int = PART_ROWS, seed: int = SEED) -> None:
    """A run directory with a synthetic pool, and a target's centroids beside it; nothing if it is there."""
    pool = PartStore(storage.join(run, "pool"))
    if Path(run, "centroids.npy").exists():
        return
    mixture = make_mixture(rows, dim, seed)
    for part, start in enumerate(range(0, rows, part_rows)):
        vectors = mixture.draw(min(part_rows, rows - start), seed + 1 + part)
        _store(pool, part, vectors)
    np.save(Path(run, "centroids.npy"), find_centroids(draw_target(mixture, TARGET_ROWS, seed), CLUSTERS, seed))


def _store(pool: PartStore, part: int, vectors: NDArray[np.float16]) -> None:
    # Without metadata: neither the index nor the selection reads them.
    path = Path(part_files.array_url(pool.url, part, f"{part:016x}"))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, vectors)
    pool.mark(part, f"{part:016x}", DoneMark(len(vectors), len(vectors), vectors.shape[1], {}, []))


def _real(folder: str, pool_url: str, target_url: str) -> str:
    """The same of stored embeddings."""
    pool = PartStore(storage.join(folder, "pool"))
    for part, vectors in PartStore(pool_url).parts():
        _store(pool, part, vectors)
    target = np.concatenate([vectors for _, vectors in PartStore(target_url).parts()])
    np.save(Path(folder, "centroids.npy"), find_centroids(target, CLUSTERS, SEED))
    return folder


def _compare(run: str, budgets: tuple[float, ...]) -> None:
    from benchmarks.data import describe_machine  # here, since torch would count in every measurement

    pool = PartStore(storage.join(run, "pool"))
    rows, dim = pool.count(), pool.vectors(0).shape[1]
    print(f"{rows:,} x {dim}, K = {CLUSTERS}; {describe_machine()}")
    ours = "already there"
    if not Path(run, "index").exists():
        plain, own = measure(faiss_index, run), measure(own_index, run)
        ours = (
            f"{own.seconds:.1f} s, {own.anonymous:,.0f} MB of its own ({own.resident:,.0f} with mapped files); plain "
            f"faiss {plain.seconds:.1f} s, {plain.anonymous:,.0f} MB; {own.seconds / plain.seconds:.2f} times its time"
        )
    print(f"build of IVF{len(IndexStore(storage.join(run, 'index')).quantiser().centroids)},Flat: {ours}\n")
    print("| rows x d | budget | search | overlap | recall told | 95% interval | scanned | seconds | MB of its own |")
    print("|---|---|---|---|---|---|---|---|---|")
    for share in budgets:
        budget = int(share * rows)
        case = f"| {rows:,} x {dim} | {share:.1%} |"
        exact = measure(exact_search, run, budget)
        _print(case, "exact", exact, 1.0, None)
        for recall in RECALLS:
            found = measure(ivf_search, run, budget, recall)
            overlap = len(np.intersect1d(found.result[0], exact.result)) / len(exact.result)
            _print(case, f"ivf {recall}", found, overlap, found.result[1])


def _print(case: str, search: str, cost: Measured, overlap: float, told: dict[str, Any] | None) -> None:
    recall = "1 | | 100%"
    if told:
        estimate = "unknown" if told["estimate"] is None else f"{told['estimate']:.4f}"
        recall = f"{estimate} | {told['low']:.4f} to {told['high']:.4f} | {told['scanned']:.1%}"
    print(f"{case} {search} | {overlap:.4f} | {recall} | {cost.seconds:.1f} | {cost.anonymous:,.0f} |", flush=True)


def own_index(run: str, factory: str | None = None) -> None:
    """`curator index`."""
    run_index(build(IndexConfig, {"out": run, "seed": SEED, "factory": factory}), Reporter())


def faiss_index(run: str) -> None:
    """Plain faiss: trained on as many rows, holding all of them as float32."""
    faiss = import_faiss()
    pool = PartStore(storage.join(run, "pool"))
    rows, dim = pool.count(), pool.vectors(0).shape[1]
    lists = default_lists(rows)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, lists, faiss.METRIC_INNER_PRODUCT)
    index.train(sample_rows(pool.parts(), rows, TRAIN_ROWS * lists, SEED))
    for _, vectors in pool.parts():
        index.add(np.ascontiguousarray(vectors, np.float32))


def exact_search(run: str, budget: int) -> NDArray[np.int64]:
    """The exact coreset."""
    return select_simcore(PartStore(storage.join(run, "pool")), _centroids(run), Rules(budget=budget)).ids


def ivf_search(run: str, budget: int, recall: float) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """The coreset by the index, and what is told of it; `refined`, the rows that were read for their codes."""
    index = IndexStore(storage.join(run, "index"))
    stored, refined = RowReader(PartStore(storage.join(run, "pool"))), np.empty(0, np.int64)
    reads = 0

    def read_rows(ids: NDArray[np.int64]) -> NDArray[np.float16]:
        nonlocal refined, reads
        refined = np.union1d(refined, ids)
        reads += len(ids)
        return stored.vectors(ids)

    selection, told = select_ivf(
        index.open(), _centroids(run), Rules(budget=budget), recall=recall, read_rows=read_rows
    )
    return selection.ids, asdict(told) | {"refined": len(refined), "reads": reads}


def codes(rows: int = 100_000, dim: int = 128) -> None:
    """The same quantiser and selections over indexes that keep rows, and codes of several kinds."""
    from benchmarks.data import describe_machine

    print(f"{rows:,} x {dim}, K = {CLUSTERS}, recall 0.99; {describe_machine()}\n")
    print("| index | bytes, of the pool's | build s | budget | overlap | recall told | scanned | refined, read | s |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="curator-index-") as run:
        measure(make_pool, run, rows, dim)
        budgets = [int(share * rows) for share in (0.001, 0.01)]
        exact = {budget: measure(exact_search, run, budget) for budget in budgets}
        plain: dict[int, NDArray[np.int64]] = {}
        for budget, cost in exact.items():
            print(f"| none | | | {budget:,} | 1 | 1 | 100% | | {cost.seconds:.1f} |")
        for kind in ("Flat", "SQ8", *(f"PQ{dim // width}" for width in (2, 4))):
            built = measure(own_index, run, f"IVF{default_lists(rows)},{kind}")
            size, pool = (sum(s.size for _, s in storage.list_tree(storage.join(run, at))) for at in ("index", "pool"))
            for budget in budgets:
                found = measure(ivf_search, run, budget, 0.99)
                ids, told = found.result
                # The codes change what is read, never what is chosen.
                assert np.array_equal(ids, plain.setdefault(budget, ids))
                overlap = len(np.intersect1d(ids, exact[budget].result)) / budget
                print(
                    f"| {kind} | {size / pool:.0%} | {built.seconds:.1f} | {budget:,} | {overlap:.4f} | "
                    f"{told['estimate']:.4f} | {told['scanned']:.1%} | {told['refined'] / rows:.1%}, "
                    f"{told['reads'] / rows:.1%} | {found.seconds:.1f} |",
                    flush=True,
                )
            for name in ("index", "run.json"):
                storage.remove(storage.join(run, name))


def _centroids(run: str) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.load(Path(run, "centroids.npy"))
    return found


def honest(rows: int = 100_000, dim: int = 64) -> None:
    """Over seeds of pool, target and index: how often the true recall lies in the interval told."""
    held = dict.fromkeys(RECALLS, 0)
    print(f"{rows:,} x {dim}, K = {CLUSTERS}, budget 5%, {HONEST_SEEDS} seeds")
    for seed in range(HONEST_SEEDS):
        with tempfile.TemporaryDirectory(prefix="curator-index-") as run:
            make_pool(run, rows, dim, part_rows=20_000, seed=1000 * seed)
            run_index(build(IndexConfig, {"out": run, "seed": seed}), Reporter())
            for recall in RECALLS:
                true, told = _true_recall(run, rows // 20, recall)
                inside = told["low"] <= true <= told["high"]
                held[recall] += inside
                print(
                    f"seed {seed}, ivf {recall}: true {true:.4f}, told {told['estimate']:.4f} "
                    f"({told['low']:.4f} to {told['high']:.4f}){'' if inside else '  OUTSIDE'}",
                    flush=True,
                )
    for recall, count in held.items():
        print(f"ivf {recall}: true recall inside the 95% interval for {count} of {HONEST_SEEDS} seeds")


def seeds(rows: int = 1_000_000, dim: int = 128) -> None:
    """Over seeds of pool, target and index: what a search for 0.99 reads, and its overlap with the exact coreset."""
    print(f"{rows:,} x {dim}, K = {CLUSTERS}, recall 0.99 asked, {HONEST_SEEDS} seeds\n")
    print("| seed | budget | scanned | overlap | told | 95% interval |\n|---|---|---|---|---|---|", flush=True)
    lines = []
    for seed in range(HONEST_SEEDS):
        with tempfile.TemporaryDirectory(prefix="curator-index-") as run:
            make_pool(run, rows, dim, seed=1000 * (seed + 1))
            run_index(build(IndexConfig, {"out": run, "seed": seed}), Reporter())
            for share in (0.001, 0.01):
                exact = exact_search(run, int(share * rows))
                found, told = ivf_search(run, int(share * rows), 0.99)
                overlap = len(np.intersect1d(found, exact)) / len(exact)
                lines.append((share, told["scanned"], overlap))
                print(
                    f"| {seed} | {share:.1%} | {told['scanned']:.1%} | {overlap:.4f} | {told['estimate']:.4f} | "
                    f"{told['low']:.4f} to {told['high']:.4f} |",
                    flush=True,
                )
    for share in (0.001, 0.01):
        read, overlap = np.array([line[1:] for line in lines if line[0] == share]).T
        print(
            f"\nbudget {share:.1%}: at most 15% scanned with {(read <= 0.15).sum()} of {HONEST_SEEDS} seeds "
            f"(median {np.median(read):.1%}, most {read.max():.1%}); overlap at least 0.99 with "
            f"{(overlap >= 0.99).sum()} (median {np.median(overlap):.4f}, least {overlap.min():.4f})"
        )


def _true_recall(run: str, budget: int, recall: float) -> tuple[float, dict[str, Any]]:
    """The share of the rows above a final cut that were read, by scoring the whole pool; and what was told."""
    index = IndexStore(storage.join(run, "index"))
    centroids = _centroids(run)
    found, told = select_ivf(index.open(), centroids, Rules(budget=budget), recall=recall)
    assert found.lower_bounds is not None
    wanted = []
    for part, rows in PartStore(storage.join(run, "pool")).parts():
        wide = rows.astype(np.float32)
        scores = wide @ centroids.T / np.linalg.norm(wide, axis=1, keepdims=True)
        # Clear of the cut by more than rounding: what was read there was chosen.
        wanted.append(np.flatnonzero((scores > found.lower_bounds + 1e-5).any(axis=1)) + (part << 32))
    ids = np.concatenate(wanted)
    return float(np.isin(ids, found.ids).mean()), asdict(told)


if __name__ == "__main__":
    main()
