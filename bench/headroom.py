"""The headroom table: retrieval after `sft` by mode, form and style over 3 seeds, and answers of the base by what it perceives.

    make headroom

Writes bench/results/headroom.json and prints the two tables. Chance: R@1 1/500, answers 25 %.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from uvrlab.evaluation import metrics, results
from uvrlab.evaluation.results import Evaluation

CLIPS = 500
OUT = Path(__file__).parent / "results" / "headroom.json"


def retrieval(study: Path) -> list[dict[str, object]]:
    """One row a variant, dataset and mode: R@1 of each seed, their mean, and its bootstrap interval with seeds as strata."""
    found: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for file in sorted((study / "cells").glob("*.json")):
        cell = json.loads(file.read_text())
        if cell["variant"] != "sft":  # a folder may hold the studies that go on from there
            continue
        evaluation: Evaluation = results.read(study / cell["results"])
        for row in evaluation.rows:
            if row["metric"] == "R@1":
                key = (cell["variant"], row["dataset"], row["mode"])
                found.setdefault(key, {}).setdefault(cell["seed"], []).append(row["value"])
    rows: list[dict[str, object]] = []
    for (variant, dataset, mode), seeds in sorted(found.items()):
        values = np.concatenate([seeds[s] for s in sorted(seeds)])
        strata = [str(s) for s in sorted(seeds) for _ in seeds[s]]
        low, high = metrics.bootstrap_interval(values, 0, strata=strata)
        by_seed = {str(s): round(float(np.mean(v)), 4) for s, v in sorted(seeds.items())}
        rows.append(
            {
                "variant": variant,
                "dataset": dataset,
                "mode": mode,
                "r1": round(float(values.mean()), 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "by_seed": by_seed,
                "n": len(values),
            }
        )
    return rows


def answers() -> list[dict[str, object]]:
    """Share of multiple-choice questions of the test split that the bare backbone answers, by need and by what it perceives."""
    import torch

    from uvrlab.data import instructions, world
    from uvrlab.data.packing import Turn, pack
    from uvrlab.models.modeldir import load_backbone
    from uvrlab.models.preprocess import default_preprocess
    from uvrlab.models.towers import forward
    from uvrlab.runs import work_dir
    from uvrlab.training.pretrain_data import ClipBank

    loaded = load_backbone("nano-omni")
    collate = default_preprocess(loaded.spec).collator(loaded.spec, loaded.tokenizer, loaded.model.config)
    bank = ClipBank(work_dir() / "pretrain" / f"bank-test-{CLIPS}", "test", CLIPS, 0).fill(2)
    letters = [collate.text.raw(letter)[0] for letter in "ABCD"]
    right: dict[tuple[str, str], list[bool]] = {}
    for start in range(0, CLIPS, 50):
        rows = range(start, start + 50)
        asked = [[q for q in world.questions(bank.scenes[i], world.stable_rng("headroom", i)) if q.options] for i in rows]
        turns = [[Turn(instructions.ask(q.question, q.options), q.answer) for q in own] for own in asked]
        for view in ("both", "picture", "sound", "text"):
            seen = ["picture" if view == "sound" and bank.scenes[i].track != "sound" else view for i in rows]
            packed = pack(collate, [bank.item(i, v) for i, v in zip(rows, seen, strict=True)], turns)
            with torch.inference_mode():
                hidden = forward(loaded.model, packed.batch, mask=packed.mask())
                for r, own in enumerate(asked):
                    if seen[r] != view:  # a clip without sound has no sound-only condition
                        continue
                    for number, question in enumerate(own, 1):
                        at = ((packed.segments[r] == number) & (packed.batch.labels[r] != -100)).nonzero()[0, 0] - 1
                        best = int(loaded.model.lm_head(hidden[r, at])[letters].argmax())
                        right.setdefault((question.needs, view), []).append("ABCD"[best] == question.answer[0])
    rows_: list[dict[str, object]] = []
    for (needs, view), hits in sorted(right.items()):
        low, high = metrics.bootstrap_interval(np.array(hits, float), 0)
        shown = {"both": "A+V", "picture": "V", "sound": "A", "text": "blind"}[view]
        rows_.append(
            {
                "needs": needs,
                "perceives": shown,
                "right": round(float(np.mean(hits)), 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "n": len(hits),
            }
        )
    return rows_


def main() -> None:
    found = {"command": "make headroom", "retrieval": retrieval(Path(sys.argv[1])), "answers": answers()}
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    for row in found["retrieval"]:
        print("{variant:<10} {dataset:<16} {mode:<6} R@1 {r1:6.1%} [{low:.1%}, {high:.1%}] n {n}".format(**row))
    for row in found["answers"]:
        print("{needs:<8} {perceives:<6} right {right:6.1%} [{low:.1%}, {high:.1%}] n {n}".format(**row))


if __name__ == "__main__":
    main()
