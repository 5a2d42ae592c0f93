"""Texts on both sides: a caption that trained a model must not be asked of it again, word for word or nearly so.

Nearly so: a training text holds `CONTAINED` of the six-word runs of the asked one. A run that many asked texts share is a phrase of
the trade and finds no candidates, so the work is linear in the words of the training side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from uvrlab.data import schema
from uvrlab.validation.words import normalised, shingles, word_hashes

SHINGLE_WORDS = 6
COMMON = 8  # asked texts with the same run of words, above which the run singles out nobody
FEWEST = 4  # runs that a text needs to be compared by them
CONTAINED = 0.8
SHORT_WORDS = 6  # texts below it are said twice by chance, and are not compared


@dataclass(frozen=True)
class Overlap:
    """A judged text and a training text that says the same: `share` of its runs of words, 1 for word for word."""

    query: str
    pair: str
    share: float
    exact: bool


def judged_texts(benchmark: Path) -> pd.DataFrame:
    """Texts that stand alone as a query or as a query's right answer: `name`, `text`; the same text once."""
    folder = benchmark / "benchmark"
    queries = schema.read_arrow("queries", folder / "queries", ["dataset", "query_id", "item", "positives"])
    corpus = schema.read_arrow("corpus", folder / "corpus", ["dataset", "candidate_id", "item"])
    asked = _alone(queries["item"], pc.binary_join_element_wise(queries["dataset"], queries["query_id"], "/"))
    answers = _alone(corpus["item"], pc.binary_join_element_wise(corpus["dataset"], corpus["candidate_id"], "/"))
    if len(answers):
        each = pd.DataFrame({"dataset": queries["dataset"].to_pandas(), "id": queries["positives"].to_pandas()}).explode("id")
        answers = answers[answers.name.isin(each.dataset + "/" + each.id)]
    found = pd.concat([asked, answers], ignore_index=True)
    found["text"] = normalised(pa.array(found.text, pa.string())).to_pandas()
    return found[found.text.str.count(" ") + 1 >= SHORT_WORDS].drop_duplicates("text").reset_index(drop=True)


def training_texts(uvrd: Path) -> Iterator[pd.DataFrame]:
    """Texts that stand alone on a side of a pair, shard by shard: `name`, `text`."""
    for file in schema.table_files(uvrd / "pairs"):
        table = schema.read_arrow("pairs", file, ["pair_id", "query", "target"])
        yield pd.concat([_alone(table[side], table["pair_id"]) for side in ("query", "target")], ignore_index=True)


def _alone(items: pa.ChunkedArray, names: pa.ChunkedArray) -> pd.DataFrame:
    """Rows whose item is text and nothing else."""
    modalities = pc.struct_field(items, "modalities")
    alone = pc.and_(pc.equal(pc.list_value_length(modalities), 1), pc.equal(pc.binary_join(modalities, "+"), "text"))
    texts = pc.struct_field(items, "text")
    return pd.DataFrame({"name": names.filter(alone).to_pandas(), "text": texts.filter(alone).to_pandas()}, dtype=object)


def find_overlaps(judged: pd.DataFrame, training: Iterator[pd.DataFrame]) -> list[Overlap]:
    """At most one overlap a judged text, the closest: word for word before nearly so."""
    index, found = _Index(judged), dict[int, Overlap]()
    for texts in training:
        for row, number, share, exact in index.matches(pa.array(texts.text, pa.string())):
            known = found.get(row)
            if known is None or (exact, share) > (known.exact, known.share):
                found[row] = Overlap(judged.name[row], texts.name[number], round(share, 4), exact)
    return [found[row] for row in sorted(found)]


class _Index:
    """The judged texts by their words: whole, and by the runs of words that single a text out."""

    def __init__(self, judged: pd.DataFrame) -> None:
        self._texts = pd.Index(judged.text)
        runs, rows = shingles(*word_hashes(pa.array(judged.text, pa.string())), SHINGLE_WORDS)
        unique = pd.DataFrame({"run": runs, "row": rows}).drop_duplicates()
        self._runs_of = dict(unique.groupby("row").run.apply(set))
        rare = unique[unique.groupby("run").row.transform("size") <= COMMON].sort_values("run")
        self._run, self._row = rare.run.to_numpy(np.uint64), rare.row.to_numpy()
        self._rare = np.bincount(self._row, minlength=len(judged))

    def matches(self, texts: pa.Array) -> Iterator[tuple[int, int, float, bool]]:
        """(judged row, position in `texts`, share, exact) of all that are close enough."""
        plain = normalised(texts)
        rows = self._texts.get_indexer(plain.to_pandas()) if len(self._texts) else np.full(len(texts), -1)
        for same in np.flatnonzero(rows >= 0):
            yield int(rows[same]), int(same), 1.0, True
        runs, owners = shingles(*word_hashes(plain), SHINGLE_WORDS)
        for row, number in self._candidates(runs, owners):
            low, high = np.searchsorted(owners, [number, number + 1])
            share = len(self._runs_of[row].intersection(runs[low:high].tolist())) / len(self._runs_of[row])
            if share >= CONTAINED:
                yield row, number, share, False

    def _candidates(self, runs: np.ndarray, owners: np.ndarray) -> list[tuple[int, int]]:
        """(judged row, position) where enough of the rare runs meet."""
        low, high = np.searchsorted(self._run, runs, "left"), np.searchsorted(self._run, runs, "right")
        hits = np.flatnonzero(high > low)
        counts = (high - low)[hits]
        starts = np.repeat(low[hits] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) if len(hits) else np.zeros(0, int)
        at = starts + np.arange(counts.sum())
        met = pd.DataFrame(
            {"row": self._row[at], "number": np.repeat(owners[hits], counts), "run": self._run[at]}
        ).drop_duplicates()
        sizes = met.groupby(["row", "number"]).size()
        need = np.array([self._rare[row] for row, _ in sizes.index], float)
        close = (need >= FEWEST) & (sizes.to_numpy() >= CONTAINED * need)
        return [(int(row), int(number)) for row, number in sizes.index[close]]
