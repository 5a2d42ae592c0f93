"""Mining against a brute-force reference, its filters by hand, and faults that name the row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.config import CurriculumConfig, MiningConfig
from uvrlab.data import schema
from uvrlab.losses.contrastive import info_nce
from uvrlab.training.mining import DUPLICATE, KEPT, TOO_CLOSE, MiningError, audit, mine, summary


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    x = rng.standard_normal(shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def at_cosines(*cosines: float) -> np.ndarray:
    """Plane vectors with these cosines to (1, 0)."""
    return np.array([[c, np.sqrt(1 - c * c)] for c in cosines], dtype=np.float32)


QUERY = np.array([[1.0, 0.0]], dtype=np.float32)


def brute_force(queries, corpus, positives, own: MiningConfig):
    """The definition: sort every candidate, drop positives, walk the window."""
    rows = []
    for q, (query, answers) in enumerate(zip(queries, positives, strict=True)):
        scores = (corpus.astype(np.float64) * query.astype(np.float64)).sum(axis=1).astype(np.float32)
        ranked = [i for i in sorted(range(len(corpus)), key=lambda i: (-scores[i], i)) if i not in answers]
        floor = min(scores[i] for i in answers)
        kept = 0
        for rank, i in enumerate(ranked[: own.last_rank], 1):
            if rank < own.first_rank or kept == own.negatives:
                continue
            same = max(float(corpus[i].astype(np.float64) @ corpus[a].astype(np.float64)) for a in answers) >= 1 - 1e-5
            verdict = DUPLICATE if same else TOO_CLOSE if scores[i] > own.ceiling(float(floor)) else KEPT
            kept += verdict == KEPT
            rows.append((str(q), str(i), rank, verdict))
    return rows


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 8), st.booleans())
def test_equals_the_definition_ties_and_duplicates_included(seed: int, first: int, width: int, copies: bool) -> None:
    rng = np.random.default_rng(seed)
    corpus = unit(rng, 60, 4)
    if copies:
        corpus[30:] = corpus[rng.integers(0, 3, 30)]  # long runs of exact ties
    queries, positives = unit(rng, 7, 4), [set(rng.integers(0, 60, 2).tolist()) for _ in range(7)]
    own = MiningConfig(negatives=2, first_rank=first, last_rank=first + width, margin=0.02)
    found = mine(queries, corpus, positives, own)
    assert [(r["query_id"], r["corpus_id"], r["rank"], r["verdict"]) for r in found] == brute_force(queries, corpus, positives, own)


def test_window_and_margins_by_hand() -> None:
    """Positive 0.8; others 0.95, 0.85, 0.77, 0.7, 0.6, 0.5. By default 0.9 is allowed, by a relative margin of 5 % 0.76, by an
    absolute one of 0.15 0.65."""
    corpus = at_cosines(0.95, 0.85, 0.8, 0.77, 0.7, 0.6, 0.5)

    def kept(**changed):
        return [(r["rank"], r["verdict"]) for r in mine(QUERY, corpus, [{2}], MiningConfig(negatives=2, **changed))]

    assert kept() == [(1, TOO_CLOSE), (2, KEPT), (3, KEPT)]
    assert kept(margin=None) == [(1, KEPT), (2, KEPT)]
    assert kept(relative_margin=0.05) == [*((rank, TOO_CLOSE) for rank in (1, 2, 3)), (4, KEPT), (5, KEPT)]
    assert kept(margin=0.15) == [*((rank, TOO_CLOSE) for rank in (1, 2, 3, 4)), (5, KEPT), (6, KEPT)]
    assert kept(first_rank=3, last_rank=3) == [(3, KEPT)]


def test_siblings_are_kept_by_default_and_fall_to_a_relative_margin() -> None:
    """As mined rows of the world look: positives of 0.8 to 0.9, each with a sibling within 3 % of it on either side and a stranger
    7 % below. 5 % of the positive takes every sibling, so that each negative is a stranger."""
    found: dict[str, list[str]] = {"default": [], "relative": []}
    for positive, gap in zip(np.linspace(0.8, 0.9, 50), np.linspace(-0.03, 0.03, 50), strict=True):
        cosines, turns = np.array([positive, positive * (1 - gap), 0.93 * positive]), np.array([0.0, 0.3, 2.0])
        aside = np.sqrt(1 - cosines**2)
        corpus = np.stack([cosines, aside * np.cos(turns), aside * np.sin(turns)], axis=1)
        for name, own in {"default": MiningConfig(), "relative": MiningConfig(relative_margin=0.05)}.items():
            rows = mine(np.array([[1.0, 0.0, 0.0]]), corpus, [{0}], own)
            found[name] += [row["corpus_id"] for row in rows if row["verdict"] == KEPT]
    assert found == {"default": ["1"] * 50, "relative": ["2"] * 50}


def test_no_negative_is_mined_that_the_loss_would_mask() -> None:
    """The loss drops keys above positive + false_negative_margin: with it and without, mined negatives cost the same."""
    rng, own = np.random.default_rng(6), CurriculumConfig()
    corpus = unit(rng, 80, 6)
    queries = corpus[:40] + unit(rng, 40, 6)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    rows = mine(queries, corpus, [{i} for i in range(40)], own.mining)
    kept = {int(row["query_id"]): corpus[[int(row["corpus_id"])]] for row in rows if row["verdict"] == KEPT}
    assert len(kept) > 30 and any(row["verdict"] == TOO_CLOSE for row in rows)
    for i, negative in kept.items():
        pair = torch.tensor(queries[[i]]), torch.tensor(corpus[[i]])
        told = [
            float(info_nce(*pair, temperature=0.05, hard_negatives=torch.tensor(negative), false_negative_margin=margin))
            for margin in (None, own.false_negative_margin)
        ]
        assert told[0] == told[1] > 0


def test_a_negative_positive_still_has_its_ceiling_below_it() -> None:
    assert MiningConfig(relative_margin=0.1).ceiling(-0.5) == pytest.approx(-0.55)


def test_a_copy_of_the_positive_is_no_negative() -> None:
    rows = mine(QUERY, at_cosines(0.8, 0.8, 0.1), [{0}], MiningConfig())
    assert [(r["corpus_id"], r["verdict"]) for r in rows] == [("1", DUPLICATE), ("2", KEPT)]


def test_the_order_of_queries_and_their_number_do_not_change_a_querys_rows() -> None:
    rng = np.random.default_rng(1)
    queries, corpus = unit(rng, 130, 16), unit(rng, 200, 16)
    positives = [{i} for i in range(130)]
    together = mine(queries, corpus, positives, MiningConfig())
    alone = mine(queries[77:78], corpus, positives[77:78], MiningConfig(), query_ids=["77"])
    assert [r for r in together if r["query_id"] == "77"] == alone


def test_rows_fit_their_table_and_the_summary_counts_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    own = MiningConfig(negatives=3, last_rank=4)
    rows = mine(unit(rng, 20, 3), unit(rng, 25, 3), [{i} for i in range(20)], own, query_ids=[f"q{i}" for i in range(20)])
    assert schema.write_table("negatives", rows, tmp_path / "negatives") == len(rows)
    back = schema.read_table("negatives", tmp_path / "negatives")
    assert [(r["query_id"], r["rank"], r["verdict"]) for r in back] == [(r["query_id"], r["rank"], r["verdict"]) for r in rows]
    found = summary(rows, 20, own)
    assert found["kept"] + found["too close"] + found["duplicate"] == len(rows)
    assert found["short"] == sum(sum(r["query_id"] == f"q{i}" and r["verdict"] == KEPT for r in rows) < 3 for i in range(20))


def test_the_audit_shows_each_verdict_and_the_same_rows_for_a_seed() -> None:
    rows = [{"query_id": str(i), "verdict": (KEPT, TOO_CLOSE)[i % 2]} for i in range(40)]
    sample = audit(rows, 3, seed=5)
    assert sorted(r["verdict"] for r in sample) == [KEPT] * 3 + [TOO_CLOSE] * 3
    assert sample == audit(rows, 3, seed=5) != audit(rows, 3, seed=6)


def test_faults_name_the_table_and_the_row() -> None:
    corpus, own = at_cosines(0.9, 0.8), MiningConfig()
    broken = corpus.copy()
    broken[1, 0] = np.nan
    with pytest.raises(MiningError, match=r"corpus, row 1 \('b'\): the vector is not finite"):
        mine(QUERY, broken, [{0}], own, corpus_ids=["a", "b"])
    with pytest.raises(MiningError, match=r"queries, row 0 \('0'\): the vector is not finite and of length 1"):
        mine(2 * QUERY, corpus, [{0}], own)
    with pytest.raises(MiningError, match=r"corpus, row 1: id 'a' stands in row 0"):
        mine(QUERY, corpus, [{0}], own, corpus_ids=["a", "a"])
    for wrong in (set(), {2}):
        with pytest.raises(MiningError, match=r"queries, row 0 \('q'\): positives \[.*\]; expected rows of the corpus, 0 to 1"):
            mine(QUERY, corpus, [wrong], own, query_ids=["q"])
    with pytest.raises(MiningError, match="1 queries but 2 sets"):
        mine(QUERY, corpus, [{0}, {1}], own)
    with pytest.raises(MiningError, match="queries are 2 wide, the corpus 3"):
        mine(QUERY, unit(np.random.default_rng(0), 4, 3), [{0}], own)
    with pytest.raises(ValueError, match="1 <= first_rank <= last_rank"):
        MiningConfig(first_rank=5, last_rank=4)
