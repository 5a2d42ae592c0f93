"""Evidently on columns of two tables: measured values, categories, and descriptors of texts. Saved as html and json.

Its scores are effect sizes (Wasserstein distance in spreads of the reference, Jensen-Shannon distance), not p-values, so that a
million rows do not make every difference count. What is too much is ours to say: `limit`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from uvrlab.validation.suites import Verdict

NOISE = 4.0  # by how many standard errors a score of few rows must stand out


def limit(n_current: int, n_reference: int, most: float) -> float:
    """The score above which a column has drifted: `most`, or what chance gives two samples of this size."""
    return max(most, NOISE * math.sqrt(1 / max(n_current, 1) + 1 / max(n_reference, 1)))


def compare(
    table: str, current: pd.DataFrame, reference: pd.DataFrame, categories: Sequence[str], most: float, folder: Path
) -> Verdict:
    """Score every column of two frames (`text` by its descriptors), save the report in `folder`, and judge the scores."""
    scores = _scores(current, reference, categories, folder / table)
    allowed = limit(len(current), len(reference), most)
    drifted = [f"{column} {score:.3f}" for column, score in scores.items() if not score <= allowed]
    name = f"no column of {table} drifts by more than {allowed:.3f} from the reference run"
    return Verdict("drift", name, not drifted, len(scores), len(drifted), drifted)


def _scores(current: pd.DataFrame, reference: pd.DataFrame, categories: Sequence[str], target: Path) -> dict[str, float]:
    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import DataDefinition, Dataset, Report
    from evidently.descriptors import NonLetterCharacterPercentage, SentenceCount, TextLength, WordCount
    from evidently.presets import DataDriftPreset

    texts = ["text"] if "text" in current else []
    numbers = [c for c in current if c not in (*categories, *texts)]
    made: list[Any] = []
    for text in texts:
        made = [TextLength(text, alias="characters"), WordCount(text, alias="words"), SentenceCount(text, alias="sentences")]
        made += [NonLetterCharacterPercentage(text, alias="non-letters, %")]
    definition = DataDefinition(categorical_columns=list(categories), numerical_columns=numbers, text_columns=texts)
    sides = [Dataset.from_pandas(frame, data_definition=definition, descriptors=made) for frame in (current, reference)]
    preset = DataDriftPreset(
        columns=[*categories, *numbers, *(d.alias for d in made)], cat_method="jensenshannon", num_method="wasserstein"
    )
    found = Report([preset]).run(*sides)
    target.parent.mkdir(parents=True, exist_ok=True)
    found.save_html(str(target.with_suffix(".html")))
    found.save_json(str(target.with_suffix(".json")))
    metrics = found.dict()["metrics"]
    return {m["config"]["column"]: float(m["value"]) for m in metrics if m["config"]["type"].endswith(":ValueDrift")}
