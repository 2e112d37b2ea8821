"""Where a selection should end, and where each stop rule ends it: F1 of what is chosen, on targets with known answers.

    python -m benchmarks.stop TINY GROCERY EMBEDDINGS [--encoder SPEC | --encoder warmup] [--group NAME]...

Folders are those of `benchmarks.groups`; embeddings are of the given encoder. With `warmup` none are needed: an encoder
is trained on each group's target and embeds it and its pool, in EMBEDDINGS/NAME.

Measured for each group: the rounds with every target row a centroid (which is `--clusters auto` up to 2,000 rows), the
best of them by F1, and where `--stop auto`, the paper's rule and its authors' end; the last two again with 100
centroids, as in their presets; auto with the target made grey and blurred; its threshold where each target photo is
there a second time, flipped and stored anew; and whether a run would tell of an end by auto: fewer rows chosen than
centroids, or a verdict in doubt. Labels only measure.

What is finished stands in EMBEDDINGS/stop.jsonl and is not done again. The tables are made from it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.altered_targets import embed_altered
from benchmarks.data import describe_machine
from benchmarks.dense_search import DenseSearch
from benchmarks.groups import Group, group_names, load_groups
from benchmarks.stop_tables import print_altered, print_plain, print_told
from benchmarks.verdict import verdict
from benchmarks.warmed import warmed
from curator.search import Floats, MemoryPool
from curator.selection import Rules, Selection, StopReason, find_centroids, hold_out, run_rounds, select_simcore

PAPER = 0.95
PAPER_CLUSTERS = 100
AUTHORS_ROUND = 20
SEED = 0
WARMUP = "warmup"


def main() -> None:
    """Measure what is not measured yet, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stop")
    parser.add_argument("tiny")
    parser.add_argument("grocery")
    parser.add_argument("embeddings")
    parser.add_argument("--encoder", default="lite0")
    parser.add_argument("--group", action="append", default=[], help="measure this group only; may be repeated")
    flags = parser.parse_args()
    path = Path(flags.embeddings, "stop.jsonl")
    names = flags.group or group_names(flags.tiny, flags.grocery)
    for name in names:
        finished = {line["kind"] for line in _read(path) if line["group"] == name}
        if finished == set(MEASURES):
            continue
        folder, encoder = flags.embeddings, flags.encoder
        if encoder == WARMUP:
            folder = f"{folder}/{name}"
            group, encoder = warmed(name, flags.tiny, flags.grocery, Path(folder), SEED)
        else:
            (group,) = load_groups(flags.tiny, flags.grocery, folder, names=[name])
        for kind in [kind for kind in MEASURES if kind not in finished]:
            line = {"group": name, "kind": kind, "encoder": flags.encoder} | MEASURES[kind](group, folder, encoder)
            with path.open("a") as file:
                file.write(json.dumps(line) + "\n")
    print(f"stop rules, {describe_machine()}\n")
    lines = [line for line in _read(path) if line["group"] in names]
    print_plain([line for line in lines if line["kind"] == "plain"])
    print_altered([line for line in lines if line["kind"] == "altered"])
    print_told(lines)


def measure_plain(group: Group, embeddings: str, encoder: str) -> dict[str, Any]:
    """The rules on a target as it is, and what chance gives."""
    found = ends(group, group.target)
    few = find_centroids(group.target, PAPER_CLUSTERS, SEED)
    relevant, best_chosen = int(group.relevant.sum()), found["best"]["chosen"]
    presets = {}
    for name, reference_round in (("paper_100", 1), ("authors_100", AUTHORS_ROUND)):
        ids = select_simcore(MemoryPool(group.pool), few, Rules(stop=PAPER, reference_round=reference_round)).ids
        presets[name] = {"chosen": len(ids), "f1": f1(int(group.relevant[ids].sum()), len(ids), relevant)}
    return {
        "target": len(group.target),
        "pool": len(group.pool),
        "relevant": relevant,
        **found,
        **presets,
        "everything": f1(relevant, len(group.pool), relevant),
        "random": f1(best_chosen * relevant / len(group.pool), best_chosen, relevant),
    }


def measure_altered(group: Group, embeddings: str, encoder: str) -> dict[str, Any]:
    """The rules with a target that another camera might have taken, and tau where each photo is there twice."""
    altered = embed_altered(group, embeddings, encoder)
    twice = np.concatenate([group.target, altered["flipped"]])
    taus = {"tau": hold_out(group.target, None, SEED).tau, "tau_twice": hold_out(twice, None, SEED).tau}
    return taus | {name: ends(group, altered[name]) for name in ("grey", "blurred")}


MEASURES = {"plain": measure_plain, "altered": measure_altered}


@dataclass(frozen=True)
class Curve:
    """F1 after each round, and what decides where a rule ends.

    Attributes:
        f1: float64 (rounds,), after each whole round.
        chosen: int64 (rounds,), after each whole round.
        means: float64 (rounds or rounds + 1,): mean scores, also of a last round that the budget cut short.
        whole: whether no row of the pool was left.
    """

    f1: NDArray[np.float64]
    chosen: NDArray[np.int64]
    means: NDArray[np.float64]
    whole: bool

    @classmethod
    def of(cls, selection: Selection, relevant: NDArray[np.bool_]) -> Curve:
        """The curve of a selection without a stop rule over a pool of one part."""
        whole = selection.stop_reason is StopReason.POOL_EXHAUSTED
        chosen = np.cumsum(selection.rounds_table.chosen)
        # Nobody knows whether the budget cut the last round short.
        chosen = chosen if whole else chosen[:-1]
        hits = np.cumsum(relevant[selection.ids])[chosen - 1]
        curve = 2 * hits / (chosen + int(relevant.sum()))
        return cls(curve, chosen, selection.rounds_table.mean_score, whole)

    def best(self, relevant: int) -> int | None:
        """The round with the highest F1, from 1; None while a later one may be higher."""
        if len(self.f1) == 0:
            return None
        # No later round can find more than all relevant rows.
        if not self.whole and self.f1.max() < 2 * relevant / (self.chosen[-1] + relevant):
            return None
        return int(np.argmax(self.f1)) + 1

    def end(self, stop: float, reference_round: int) -> int | None:
        """The last round before the rule refuses one, from 1; None while it has refused none."""
        if len(self.means) >= reference_round and self.means[reference_round - 1] > 0:
            below = self.means < stop * self.means[reference_round - 1]
            below[:reference_round] = False
            if below.any():
                return int(np.argmax(below))
        return len(self.f1) if self.whole else None


def ends(group: Group, target: Floats) -> dict[str, Any]:
    """The best round with every target row a centroid, and where each rule ends."""
    held_out = hold_out(target, None, SEED)
    rules = {"auto": (held_out.tau, 1), "paper": (PAPER, 1), "authors": (PAPER, AUTHORS_ROUND)}
    relevant = int(group.relevant.sum())
    centroids = find_centroids(target, None, SEED)
    search = DenseSearch(group.pool, centroids)
    budget = 2 * relevant
    while True:
        # The first rows of any run are the run with a smaller budget, so a larger one only adds rounds.
        selection = run_rounds(search, len(centroids), Rules(budget=budget))
        curve = Curve.of(selection, group.relevant)
        rounds = {"best": curve.best(relevant)} | {name: curve.end(*rule) for name, rule in rules.items()}
        if None not in rounds.values():
            break
        budget *= 2
    found = {
        name: {"round": number, "chosen": int(curve.chosen[number - 1]), "f1": float(curve.f1[number - 1])}
        for name, number in rounds.items()
        if number is not None
    }
    told = {"centroids": len(centroids), "verdict": verdict(target, group.pool).share}
    return {"tau": held_out.tau, "alike": held_out.alike, "groups": held_out.groups, **told, **found}


def f1(hits: float, chosen: int, relevant: int) -> float:
    """Of a choice of `chosen` rows that holds `hits` of the `relevant` ones."""
    return 2 * hits / (chosen + relevant)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
