"""UVRB as metadata: its 16 datasets, and the averages that its paper (GVE, arXiv 2510.27571) draws from them.

The averages nest: FG is the mean of three abilities, not of seven datasets, and TXT of three domains, not of twelve
datasets (recomputed, equal to the paper's cells). They are written as one table of weights a dataset, so a value, its
interval and a paired test use the same sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from uvrlab.data.uvrb.datasets import ABILITIES, DATASETS, MIRROR, Ability, Dataset, dataset, find

LEAVES = (*ABILITIES, "FG")  # what a dataset can have: FG stands for S and T where a benchmark does not tell them apart
# An average is the plain mean of its parts; a part is an ability or another average.
AVERAGES: dict[str, tuple[str, ...]] = {
    "FG": ("S", "T", "PR"),
    "TXT": ("CG", "FG", "LC"),
    "AVG_A": ("TXT", "CMP", "VIS", "CG", "FG", "LC"),
}


def main_metric(name: str) -> str:
    """The metric that a dataset is judged by: UVRB's published one, R@1 elsewhere."""
    known = find(name)
    return known.metric if known else "R@1"


def weights(abilities: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """{average: {dataset: weight}} for datasets with these abilities ({dataset: ability}); each average's weights sum
    to 1.

    Every ability present is an average over its datasets, AVG_D is over all. A nested average stands only where all its
    parts do. Where UVRB's datasets (or their mirrors) are among others, the averages are over UVRB's alone.
    """
    names = sorted(name for name in abilities if find(name)) or sorted(abilities)
    abilities = {name: abilities[name] for name in names}
    found = {ability: _mean([{n: 1.0} for n in names if abilities[n] == ability]) for ability in sorted(set(abilities.values()))}
    for average, parts in AVERAGES.items():
        if all(part in found for part in parts):
            found[average] = _mean([found[part] for part in parts])
    found["AVG_D"] = _mean([{name: 1.0} for name in names])
    return found


def averages(values: Mapping[str, float], abilities: Mapping[str, str]) -> dict[str, float]:
    """{average: value} from one value a dataset."""
    return {name: sum(w * values[d] for d, w in parts.items()) for name, parts in weights(abilities).items()}


def _mean(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, weight in part.items():
            total[name] = total.get(name, 0.0) + weight / len(parts)
    return total


__all__ = [
    "ABILITIES",
    "AVERAGES",
    "DATASETS",
    "LEAVES",
    "MIRROR",
    "Ability",
    "Dataset",
    "averages",
    "dataset",
    "find",
    "main_metric",
    "weights",
]
