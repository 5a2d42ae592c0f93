"""UVRB as metadata: its 16 datasets, and the averages that its paper (GVE, arXiv 2510.27571) draws from them.

The averages nest: FG is the mean of three abilities, not of seven datasets, and TXT of three domains, not of twelve
datasets (recomputed, equal to the paper's cells). They are written as one table of weights a dataset, so a value, its
interval and a paired test use the same sum.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Ability = Literal["CG", "S", "T", "PR", "LC", "CMP", "VIS"]
ABILITIES: tuple[Ability, ...] = ("CG", "S", "T", "PR", "LC", "CMP", "VIS")

# An average is the plain mean of its parts; a part is an ability or another average.
AVERAGES: dict[str, tuple[str, ...]] = {
    "FG": ("S", "T", "PR"),
    "TXT": ("CG", "FG", "LC"),
    "AVG_A": ("TXT", "CMP", "VIS", "CG", "FG", "LC"),
}


@dataclass(frozen=True)
class Dataset:
    """One dataset of UVRB. `query` lists the query's modalities (T text, I image, V video); pools: 10 candidates of the
    query's own.
    """

    name: str
    ability: Ability
    query: str
    metric: str
    prompt: str
    pools: bool = False


DATASETS: dict[str, Dataset] = {
    d.name: d
    for d in (
        Dataset("MSRVTT", "CG", "T", "R@1", "Find the clip that corresponds to the described scene in the given video."),
        Dataset("DiDeMo", "CG", "T", "R@1", "Find a video that includes the following described scenes."),
        Dataset("CRB-G", "CG", "T", "R@1", "Find the video according to the general text description."),
        Dataset("CRB-S", "S", "T", "R@1", "Find the video according to the spatial description."),
        Dataset("VDC-O", "S", "T", "R@1", "Find the video according to the object description."),
        Dataset("CRB-T", "T", "T", "R@1", "Find the video according to the temporal description."),
        Dataset("CMRB", "T", "T", "R@10", "Find the video according to the camera motion description."),
        Dataset("DREAM-E", "PR", "T", "R@1", "Find the video according to the text description."),
        Dataset("LoVR-TH", "PR", "T", "R@10", "Find the video according to text description about video theme information."),
        Dataset("PEV-K", "PR", "T", "R@1", "Find the video according to the text description of a series of keywords."),
        Dataset("LoVR-V", "LC", "T", "R@1", "Find the long video according to the long text description."),
        Dataset("VDC-D", "LC", "T", "R@1", "Find the video according to the detailed text description."),
        Dataset("MS-TI", "CMP", "T+I", "P@1", "Find the video clip that corresponds to the given text and the given image.", True),
        Dataset("MS-TV", "CMP", "T+V", "P@1", "Find the video clip that corresponds to the given text and the given video.", True),
        Dataset("MSRVTT-I2V", "VIS", "I", "R@1", "Find the video according to the image."),
        Dataset("LoVR-C2V", "VIS", "V", "R@1", "Find the original long video according to the short video clip."),
    )
}


def dataset(name: str) -> Dataset:
    """The metadata of a dataset. Raises ValueError with the nearest name: a wrong name must never silently drop a prompt."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, 1, 0.0)[0]
        raise ValueError(f"unknown UVRB dataset {name!r}; did you mean {near!r}? expected one of {', '.join(DATASETS)}")
    return DATASETS[name]


def weights(abilities: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """{average: {dataset: weight}} for datasets with these abilities ({dataset: ability}); each average's weights sum
    to 1.

    Every ability present is an average over its datasets, AVG_D is over all. A nested average stands only where all its
    parts do.
    """
    names = sorted(abilities)
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
