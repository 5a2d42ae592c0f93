"""UVRB's 16 datasets as one literal table: ability, query form, pool, metric, prompt, and the published sizes.

The table is GVE's (arXiv 2510.27571). A rendered mirror of a dataset has its name behind `world-`, so that no score of the
procedural world is ever read as one of the real benchmark.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

Ability = Literal["CG", "S", "T", "PR", "LC", "CMP", "VIS"]
ABILITIES: tuple[Ability, ...] = ("CG", "S", "T", "PR", "LC", "CMP", "VIS")
MIRROR = "world-"


@dataclass(frozen=True)
class Dataset:
    """One dataset of UVRB. `query` lists the query's modalities (T text, I image, V video); `n_query`, `n_corpus` (a pool of 10 of
    the query's own where `pools`), `duration_s` (mean of a video) and `words` (mean of a query's text) are the published ones.
    """

    name: str
    ability: Ability
    query: str
    metric: str
    n_query: int
    n_corpus: int
    duration_s: float
    words: float | None
    prompt: str
    pools: bool = False

    @property
    def task(self) -> str:
        """The query's and the candidates' modalities, as in the tables: `T2V`, `TI2V`, ..."""
        return f"{self.query.replace('+', '')}2V"


_THIS = "Find the video according to the"
_MOMENT = "Find the video clip that corresponds to the given text and the given"
DATASETS: dict[str, Dataset] = {
    d.name: d
    for d in (
        Dataset(
            *("MSRVTT", "CG", "T", "R@1", 1000, 1000, 15.0, 9.4),
            "Find the clip that corresponds to the described scene in the given video.",
        ),
        Dataset(
            *("DiDeMo", "CG", "T", "R@1", 1004, 1004, 53.9, 29.1),
            "Find a video that includes the following described scenes.",
        ),
        Dataset("CRB-G", "CG", "T", "R@1", 1000, 1000, 14.4, 232.2, f"{_THIS} general text description."),
        Dataset("CRB-S", "S", "T", "R@1", 1000, 1000, 14.4, 115.0, f"{_THIS} spatial description."),
        Dataset("VDC-O", "S", "T", "R@1", 1027, 1027, 30.1, 91.4, f"{_THIS} object description."),
        Dataset("CRB-T", "T", "T", "R@1", 1000, 1000, 14.4, 103.2, f"{_THIS} temporal description."),
        Dataset("CMRB", "T", "T", "R@10", 728, 1071, 5.7, 24.8, f"{_THIS} camera motion description."),
        Dataset("DREAM-E", "PR", "T", "R@1", 6251, 1000, 8.8, 6.5, f"{_THIS} text description."),
        Dataset(
            *("LoVR-TH", "PR", "T", "R@10", 8854, 8854, 16.9, 48.1),
            "Find the video according to text description about video theme information.",
        ),
        Dataset("PEV-K", "PR", "T", "R@1", 14427, 15000, 16.9, 45.5, f"{_THIS} text description of a series of keywords."),
        Dataset(
            *("LoVR-V", "LC", "T", "R@1", 100, 467, 1560.3, 17364.5),
            "Find the long video according to the long text description.",
        ),
        Dataset("VDC-D", "LC", "T", "R@1", 1000, 1027, 30.1, 508.0, f"{_THIS} detailed text description."),
        Dataset("MS-TI", "CMP", "T+I", "P@1", 400, 10, 13.5, 68.5, f"{_MOMENT} image.", True),
        Dataset("MS-TV", "CMP", "T+V", "P@1", 400, 10, 13.5, 68.5, f"{_MOMENT} video.", True),
        Dataset("MSRVTT-I2V", "VIS", "I", "R@1", 1000, 1000, 15.0, None, f"{_THIS} image."),
        Dataset(
            *("LoVR-C2V", "VIS", "V", "R@1", 467, 467, 1560.3, None),
            "Find the original long video according to the short video clip.",
        ),
    )
}


def find(name: str) -> Dataset | None:
    """The metadata of a dataset or of its rendered mirror; None for a dataset that is not UVRB's.

    Raises ValueError for a name that differs from one of UVRB's in case or signs alone: `MSR-VTT` would lose its prompt unseen.
    """
    bare = name.removeprefix(MIRROR)
    if bare not in DATASETS and (meant := _PLAIN.get(_plain(bare))):
        raise ValueError(f"unknown dataset {name!r}; did you mean {name.removesuffix(bare) + meant!r}?")
    return DATASETS.get(bare)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


_PLAIN = {_plain(name): name for name in DATASETS}


def dataset(name: str) -> Dataset:
    """The metadata of a dataset. Raises ValueError with the nearest name: a wrong name must never silently drop a prompt."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, 1, 0.0)[0]
        raise ValueError(f"unknown UVRB dataset {name!r}; did you mean {near!r}? expected one of {', '.join(DATASETS)}")
    return DATASETS[name]
