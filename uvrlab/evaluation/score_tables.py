"""Tables of scores, a model a row: read from CSV files and from evaluate run directories, joined by model, checked.

It computes nothing; diagnose.py and findings.py do.
"""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uvrlab.evaluation import results
from uvrlab.evaluation.published import Scores

MODEL = "model"


class TableFault(ValueError):
    """A score table that cannot be read, or two that contradict each other."""


@dataclass
class ScoreTable:
    """Scores of models (shares in [0, 1]), where each came from, and which models are evaluations of our own."""

    scores: Scores = field(default_factory=dict)
    origin: dict[tuple[str, str], str] = field(default_factory=dict)  # (model, column) -> file
    own: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """Every column, in the order of the tables."""
        return list(dict.fromkeys(column for row in self.scores.values() for column in row))

    def add(self, source: str, scores: Scores) -> None:
        """Join rows by model. Raises TableFault naming both files, the model and the column where two tables disagree."""
        for model, row in scores.items():
            mine = self.scores.setdefault(model, {})
            for column, value in row.items():
                if mine.setdefault(column, value) != value:
                    raise TableFault(
                        f"{source}: model {model!r}, column {column!r} is {value:g}, but {self.origin[model, column]} says "
                        f"{mine[column]:g}; correct one of them or leave it out"
                    )
                self.origin.setdefault((model, column), source)

    def select(self, models: Sequence[str] = ()) -> ScoreTable:
        """The table of `models`, all by default, with the columns that each of them has; `notes` says what fell out.

        Raises TableFault with the nearest name for an unknown model, and where fewer than two columns are left.
        """
        for model in models:
            if model not in self.scores:
                near = difflib.get_close_matches(model, self.scores, 1, 0.0)
                raise TableFault(f"no model {model!r} in the tables; did you mean {near[0] if near else '-'!r}?")
        chosen = list(dict.fromkeys(models)) or list(self.scores)
        kept = [c for c in self.columns if all(c in self.scores[m] for m in chosen)]
        lost = [c for c in self.columns if c not in kept and any(c in self.scores[m] for m in chosen)]
        without = next((m for m in chosen for c in lost if c not in self.scores[m]), "")
        if len(kept) < 2:
            raise TableFault(
                f"{len(chosen)} models share {len(kept)} columns, expected two at least (model {without!r} lacks "
                f"{', '.join(lost[:3])}); name models that share columns with --models A,B,..."
            )
        notes = [f"left out, as not every model has them ({without} lacks some): {', '.join(lost)}"] if lost else []
        rows = {m: {c: self.scores[m][c] for c in kept} for m in chosen}
        return ScoreTable(rows, self.origin, [m for m in chosen if m in self.own], [*self.notes, *notes])

    def column(self, name: str) -> list[float]:
        """One value a model, in order."""
        return [row[name] for row in self.scores.values()]


def load(sources: Iterable[str]) -> ScoreTable:
    """Join CSV files and evaluate run directories, each `PATH` or `NAME=PATH` (the name of a run's model in the table)."""
    table, benchmarks = ScoreTable(), {}
    for source in sources:
        name, sign, rest = source.partition("=")
        name, path = (name, Path(rest)) if sign and not Path(source).exists() else ("", Path(source))
        if path.is_dir():
            scores, benchmark = read_run(path, name)
            benchmarks[str(path)] = benchmark
            table.own += [model for model in scores if model not in table.own]
        else:
            scores = read_csv(path)
        table.add(str(path), scores)
    if len(set(benchmarks.values())) > 1:
        told = ", ".join(f"{path} on {digest[:12]}" for path, digest in benchmarks.items())
        raise TableFault(f"not comparable: {told}; evaluate these models on one benchmark")
    if table.own and len(table.own) < len(table.scores):
        table.notes.append("rows of our own and of tables come from different benchmarks; their correlations mix the two")
    return table


def read_csv(path: Path) -> Scores:
    """{model: {column: value}} of a CSV with the header `model,COLUMN,...`; an empty cell or `-` is no value.

    Raises TableFault naming file, line, model and column of the first fault.
    """
    if not path.is_file():
        raise TableFault(f"no table at {path}; expected a CSV file or an evaluate run directory")
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = [*csv.reader(file)] or [[]]
    if MODEL not in header or len(set(header)) < len(header):
        raise TableFault(f"{path}: found columns {', '.join(header)}; expected {MODEL} and columns of scores, no name twice")
    scores: Scores = {}
    for line, cells in enumerate(rows, 2):
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise TableFault(f"{path}, line {line}: found {len(cells)} cells, expected {len(header)}")
        row = dict(zip(header, cells, strict=True))
        model = row.pop(MODEL).strip()
        if model in scores or not model:
            fault = "stands twice" if model else "is empty"
            raise TableFault(f"{path}, line {line}: model {model!r} {fault}; expected one named row a model")
        at = f"{path}, line {line}, model {model!r}"
        given = {column: text for column, text in row.items() if text.strip() not in ("", "-")}
        scores[model] = {column: _number(text, f"{at}, column {column!r}") for column, text in given.items()}
    return scores


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TableFault(f"{where}: {text!r} is no finite number; expected a score or an empty cell")
    return value


def read_run(folder: Path, name: str = "") -> tuple[Scores, str]:
    """Datasets and averages, each by its own metric, of an evaluate run directory, and its benchmark digest.

    The model is called `name`, else the start of its digest; with several modes each is a row, `NAME:MODE`.
    """
    found = results.read(folder).results
    return score_rows(found, name or found.model_digest[:12]), found.benchmark_digest


def score_rows(found: results.Results, name: str) -> Scores:
    """Datasets and averages, each by its own metric: one row called `name`, or one `NAME:MODE` for each of several modes."""
    modes = sorted({score.mode for score in found.scores})
    scores: Scores = {name if len(modes) == 1 else f"{name}:{mode}": {} for mode in modes}
    for mode, row in zip(modes, scores.values(), strict=True):
        row |= {s.dataset: s.value for s in found.scores if s.mode == mode and s.metric == found.main[s.dataset]}
        row |= {s.dataset: s.value for s in found.averages if s.mode == mode and s.metric == results.MAIN}
    return scores
