"""The index equals brute force, orders ties by id, and survives add, remove, save, load and a killed save."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from uvrlab.evaluation.index import Index, IndexFault, check_vectors, order, search_scores


def unit(n: int, width: int = 16, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def names(n: int, stem: str = "clip") -> list[str]:
    return [f"{stem}-{i:04d}" for i in range(n)]


def brute(queries: np.ndarray, ids: list[str], vectors: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
    found = []
    for query in queries.astype(np.float64):
        scores = [float(np.float32((vector.astype(np.float64) * query).sum())) for vector in vectors]
        found.append(sorted(zip(ids, scores, strict=True), key=lambda hit: (-hit[1], hit[0]))[:k])
    return found


@pytest.mark.parametrize("k", [1, 7, 1000])
def test_search_equals_brute_force(k: int) -> None:
    ids, vectors, queries = names(300), unit(300), unit(20, seed=1)
    assert Index.build(ids, vectors, model_digest="m").search(queries, k) == brute(queries, ids, vectors, k)


def test_ties_are_ordered_by_id_however_many_there_are() -> None:
    """200 copies of one vector in shuffled order, and the ten best are the ten smallest ids."""
    ids = np.random.default_rng(2).permutation(names(200)).tolist()
    vectors = np.repeat(unit(1), 200, axis=0)
    hits = Index.build(ids, vectors, model_digest="m").search(vectors[0], 10)[0]
    assert [name for name, _ in hits] == names(10)
    assert len({score for _, score in hits}) == 1


def test_nearly_collapsed_vectors_still_equal_brute_force() -> None:
    """Cosines that differ by less than float32 search can order: the rescoring decides."""
    centre = unit(1, 64)
    vectors = centre + 1e-5 * unit(400, 64, seed=3)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    assert Index.build(names(400), vectors, model_digest="m").search(centre, 5) == brute(centre, names(400), vectors, 5)


def test_add_then_remove_leaves_what_was_there() -> None:
    first, second = unit(30), unit(20, seed=4)
    index = Index.build(names(30), first, model_digest="m", rows={"clip-0003": {"uri": "a.mp4"}})
    before = index.search(first[:5], 30)
    index.add(names(20, "new"), second, model_digest="m")
    assert index.search(second[:1], 1)[0][0][0] == "new-0000"
    index.remove(names(20, "new"))
    assert index.search(first[:5], 30) == before
    index.remove(["clip-0003"])
    assert index.rows == {}
    assert index.ids == [i for i in names(30) if i != "clip-0003"]
    np.testing.assert_array_equal(index.vectors(), np.delete(first, 3, axis=0))


def test_save_and_load_keep_everything(tmp_path: Path) -> None:
    index = Index.build(names(40), unit(40), model_digest="m", rows={"clip-0001": {"uri": "ü.mp4", "start_s": 1.5}})
    index.save(tmp_path)
    loaded = Index.load(tmp_path)
    assert (loaded.ids, loaded.rows, loaded.model_digest) == (index.ids, index.rows, "m")
    assert loaded.search(unit(3, seed=5), 5) == index.search(unit(3, seed=5), 5)
    loaded.remove(["clip-0000"])
    loaded.save(tmp_path)
    assert len(Index.load(tmp_path)) == 39
    assert len(list(tmp_path.iterdir())) == 3  # the old files are gone


def test_a_save_killed_before_its_end_leaves_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = Index.build(names(10), unit(10), model_digest="m")
    index.save(tmp_path)
    index.remove(["clip-0009"])
    monkeypatch.setattr("uvrlab.evaluation.index.json.dumps", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        index.save(tmp_path)
    assert len(Index.load(tmp_path)) == 10


def test_an_altered_or_absent_index_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IndexFault, match=r"no index\.json"):
        Index.load(tmp_path)
    Index.build(names(4), unit(4), model_digest="m").save(tmp_path)
    file = next(tmp_path.glob("vectors-*"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(IndexFault, match="was altered"):
        Index.load(tmp_path)


def test_faults_name_row_and_id_and_change_nothing() -> None:
    index = Index.build(names(3), unit(3), model_digest="m")
    broken = unit(2)
    broken[1, 0] = np.nan
    cases = [
        (["a", "a"], unit(2), "m", "row 1: id 'a' stands in row 0 already"),
        (["a", "b"], broken, "m", r"row 1 \('b'\): the vector holds NaN"),
        (["a", "b"], 2 * unit(2), "m", r"row 0 \('a'\): length 2.0000, expected 1"),
        (["clip-0001", "b"], unit(2), "m", "'clip-0001' is in the index already"),
        (["a", "b"], unit(2), "other", "build a new index"),
        (["a", "b"], unit(2, 8), "m", "8 wide, the index 16"),
    ]
    for ids, vectors, model, message in cases:
        with pytest.raises(IndexFault, match=message):
            index.add(ids, vectors, model_digest=model)
    with pytest.raises(IndexFault, match="'zz' is not in the index"):
        index.remove(["clip-0000", "zz"])
    with pytest.raises(IndexFault, match="8 wide"):
        index.search(unit(1, 8), 1)
    assert index.ids == names(3)


def test_scores_depend_neither_on_blocks_nor_on_duplicates() -> None:
    queries, corpus = unit(37, 64), unit(50, 64, seed=1)
    doubled = np.concatenate([corpus, corpus[::-1]])
    scores = search_scores(queries, doubled, block=5)
    np.testing.assert_array_equal(scores[:, :50], scores[:, 50:][:, ::-1])
    np.testing.assert_array_equal(scores, search_scores(queries, doubled, block=1000))
    np.testing.assert_allclose(scores[:, :50], queries @ corpus.T, atol=1e-6)


def test_order_and_checks() -> None:
    assert order(np.array([0.5, 0.9, 0.9]), ["a", "c", "b"]).tolist() == [2, 1, 0]
    with pytest.raises(IndexFault, match=r"corpus of x: 2 ids and vectors of shape \(3, 16\)"):
        check_vectors(["a", "b"], unit(3), "corpus of x")
