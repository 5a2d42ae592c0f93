"""What an epoch of the curriculum does: its steps by task probability, with steps between them that keep earlier abilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from uvrlab.config import CurriculumConfig
from uvrlab.runs import processes
from uvrlab.training.pairs import Pair, plan_batches, usable_groups

Kind = Literal["pairs", "generative", "grounding"]


@dataclass(frozen=True)
class Step:
    """One step: rows of the train pairs, or of the answers that are replayed under `grounding`."""

    kind: Kind
    rows: list[int]


def plan_epoch(
    pairs: Sequence[Pair], answers: int, shares: Mapping[str, float], own: CurriculumConfig, seed: int, epoch: int
) -> list[Step]:
    """The `own.epoch_steps` steps of an epoch (from 0), for P(task) `shares`; depends on its arguments alone.

    Replay takes exactly its share of the steps, at places drawn by the seed; none where there is nothing to replay. Thoughts are
    replayed by the size of their task, whatever the curriculum prefers, since the curriculum is not what taught them.
    """
    rng = np.random.default_rng([seed, 23, epoch])
    thinking = [i for i, pair in enumerate(pairs) if pair.query_response and pair.target_response]
    counts = {
        "generative": round(own.replay.generative * own.epoch_steps) if usable_groups([pairs[i] for i in thinking]) else 0,
        "grounding": round(own.replay.grounding * own.epoch_steps) if answers >= processes() else 0,
    }
    counts["pairs"] = own.epoch_steps - sum(counts.values())
    batches: dict[Kind, list[list[int]]] = {"pairs": [], "generative": [], "grounding": []}
    batches["pairs"] = plan_batches(pairs, counts["pairs"], own.batch_size, seed, shares, (1, epoch))
    if counts["generative"]:
        some = plan_batches([pairs[i] for i in thinking], counts["generative"], own.batch_size, seed, stream=(2, epoch))
        batches["generative"] = [[thinking[i] for i in batch] for batch in some]
    for _ in range(counts["grounding"]):
        batches["grounding"].append(sorted(rng.permutation(answers)[: own.batch_size].tolist()))
    steps = [Step(kind, rows) for kind, some in batches.items() for rows in some]
    return [steps[i] for i in rng.permutation(len(steps))]
