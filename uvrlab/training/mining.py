"""Hard negatives as an artifact of its own: what a prober ranks high and what is not the answer (GVE, arXiv 2510.27571, training).

Exact FAISS search, a window of ranks, and a ceiling by the score of the positive that keeps likely false negatives out. Rejected
candidates are rows too, so that a report can show what the ceiling took. Not here: encoding, media, training.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from uvrlab.config import MiningConfig

Array = np.ndarray[Any, Any]
Row = dict[str, Any]
KEPT, TOO_CLOSE, DUPLICATE = "kept", "too close", "duplicate"
BLOCK = 64  # queries; their candidates' vectors are held in float64
SLACK = 16
FLOAT32_ERROR = 1e-5  # of a float32 inner product of unit vectors, generously
UNIT_TOLERANCE = 1e-3


class MiningError(ValueError):
    """Vectors, ids or positives that no negatives can be mined from."""


def mine(
    query_vectors: Array,
    corpus_vectors: Array,
    positives: Sequence[Collection[int]],
    own: MiningConfig,
    *,
    query_ids: Sequence[str] | None = None,
    corpus_ids: Sequence[str] | None = None,
    index: Any = None,
) -> list[Row]:
    """Rows of the table `negatives`, a query after the other, each by rising rank, until it has enough that are kept.

    Args:
        query_vectors, corpus_vectors: (Q, D) and (N, D), unit length.
        positives: the corpus rows of each query's positives; the lowest-scoring one sets the ceiling.
        query_ids, corpus_ids: names for the rows; by default their numbers.
        index: a FAISS inner-product index over `corpus_vectors` in their order, such as one on a GPU; by default a flat one.

    Equal candidates are ordered by corpus row, so equal inputs give equal rows. Raises MiningError naming table, row and id for
    vectors that are not unit length and finite, ids that stand twice, and a query without a positive in the corpus.
    """
    query_ids = query_ids if query_ids is not None else [str(i) for i in range(len(query_vectors))]
    corpus_ids = corpus_ids if corpus_ids is not None else [str(i) for i in range(len(corpus_vectors))]
    queries, corpus = _checked("queries", query_ids, query_vectors), _checked("corpus", corpus_ids, corpus_vectors)
    if queries.shape[1] != corpus.shape[1]:
        raise MiningError(f"queries are {queries.shape[1]} wide, the corpus {corpus.shape[1]}; encode both with one model")
    _check_positives(positives, query_ids, len(corpus))
    index = index if index is not None else _flat_index(corpus)
    rows: list[Row] = []
    for start in range(0, len(queries), BLOCK):
        for at, places in enumerate(
            _ranked(index, queries[start : start + BLOCK], corpus, positives[start : start + BLOCK], own), start
        ):
            found = _judge(queries[at], corpus, sorted(positives[at]), places, own)
            rows += [{"query_id": query_ids[at], "corpus_id": corpus_ids[row.pop("place")], **row} for row in found]
    return rows


def _ranked(index: Any, queries: Array, corpus: Array, positives: Sequence[Collection[int]], own: MiningConfig) -> list[Array]:
    """For each query the corpus rows up to `last_rank`, positives left out, by falling exact score, ties by row."""
    most = max(len(p) for p in positives)
    fetch = min(len(corpus), own.last_rank + most + SLACK)
    return [
        _exact(index, query, corpus, set(skip), places, own.last_rank)
        for query, skip, places in zip(queries, positives, index.search(queries, fetch)[1], strict=True)
    ]


def _exact(index: Any, query: Array, corpus: Array, skip: set[int], places: Array, last: int) -> Array:
    while True:
        scores = _scores(query, corpus[places])
        order = np.lexsort((places, -scores))
        kept = [at for at in order if int(places[at]) not in skip][:last]
        # float32 search may misplace what is this close: fetch on until the last one kept clearly beats the last one fetched
        if len(places) == len(corpus) or (len(kept) == last and scores[kept[-1]] > scores.min() + FLOAT32_ERROR):
            return places[kept]
        places = index.search(query[None], min(len(corpus), 4 * len(places)))[1][0]


def _judge(query: Array, corpus: Array, positives: Sequence[int], places: Array, own: MiningConfig) -> list[Row]:
    answers = corpus[list(positives)]
    positive = float(_scores(query, answers).min())
    ceiling, wanted = own.ceiling(positive), own.negatives
    rows: list[Row] = []
    for rank, (place, score) in enumerate(zip(places.tolist(), _scores(query, corpus[places]).tolist(), strict=True), 1):
        if rank < own.first_rank:
            continue
        if float(_scores(corpus[place], answers).max()) >= 1 - own.duplicate_tolerance:
            verdict = DUPLICATE
        else:
            verdict = TOO_CLOSE if score > ceiling else KEPT
        rows.append({"place": place, "rank": rank, "score": score, "positive_score": positive, "verdict": verdict})
        wanted -= verdict == KEPT
        if not wanted:
            break
    return rows


def _scores(query: Array, vectors: Array) -> Array:
    """(n,) cosines, summed in float64 and rounded to float32: the same whatever else is in the batch."""
    return (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)


def _flat_index(corpus: Array) -> Any:
    import faiss

    index = faiss.IndexFlatIP(corpus.shape[1])
    index.add(corpus)
    return index


def _checked(what: str, ids: Sequence[str], vectors: Array) -> Array:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or len(ids) != len(vectors) or not len(ids):
        raise MiningError(f"{what}: {len(ids)} ids and vectors of shape {vectors.shape}; expected (ids, width), one row at least")
    seen: dict[str, int] = {}
    for row, name in enumerate(ids):
        if seen.setdefault(name, row) != row:
            raise MiningError(f"{what}, row {row}: id {name!r} stands in row {seen[name]} already; ids must be unique")
    # NaN fails this comparison as well
    if (bad := np.flatnonzero(~(np.abs(np.linalg.norm(vectors, axis=1) - 1) <= UNIT_TOLERANCE))).size:
        raise MiningError(
            f"{what}, row {bad[0]} ({ids[bad[0]]!r}): the vector is not finite and of length 1; encode that item again"
        )
    return vectors


def _check_positives(positives: Sequence[Collection[int]], query_ids: Sequence[str], n: int) -> None:
    if len(positives) != len(query_ids):
        raise MiningError(f"{len(query_ids)} queries but {len(positives)} sets of positives; expected one a query")
    for row, own in enumerate(positives):
        if not own or not all(0 <= place < n for place in own):
            raise MiningError(
                f"queries, row {row} ({query_ids[row]!r}): positives {sorted(own)}; expected rows of the corpus, 0 to {n - 1}"
            )


def summary(rows: Sequence[Mapping[str, Any]], n_queries: int, own: MiningConfig) -> dict[str, float]:
    """Counts for a report: kept, taken out as too close or as duplicates, queries short of negatives, and the kept ones' mean gap
    to their positive (cosine)."""
    kept = [row for row in rows if row["verdict"] == KEPT]
    full: dict[str, int] = {}
    for row in kept:
        full[row["query_id"]] = full.get(row["query_id"], 0) + 1
    return {
        "queries": n_queries,
        **{verdict: sum(row["verdict"] == verdict for row in rows) for verdict in (KEPT, TOO_CLOSE, DUPLICATE)},
        "short": n_queries - sum(count >= own.negatives for count in full.values()),
        "gap": float(np.mean([row["positive_score"] - row["score"] for row in kept])) if kept else 0.0,
    }


def audit(rows: Sequence[Mapping[str, Any]], n: int, seed: int = 0) -> list[dict[str, Any]]:
    """A seeded sample of at most `n` rows of each verdict for human eyes, in table order: were they negatives?"""
    rng, chosen = np.random.default_rng([seed, 13]), []
    for verdict in (KEPT, TOO_CLOSE, DUPLICATE):
        places = [at for at, row in enumerate(rows) if row["verdict"] == verdict]
        chosen += [places[at] for at in rng.permutation(len(places))[:n]]
    return [dict(rows[at]) for at in sorted(chosen)]
