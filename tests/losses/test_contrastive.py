"""InfoNCE against closed forms and a double loop, alone and over two processes."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.losses.contrastive import info_nce, matryoshka


def brute_force(query, target, temperature, hard=None, ids=None, margin=None, tolerance=None):
    """The definition, one row and one key at a time."""

    def way(rows, keys):
        total, b = 0.0, len(rows)
        for i in range(b):
            positive = float(rows[i] @ keys[i])
            kept = []
            for j in range(len(keys)):
                score = float(rows[i] @ keys[j])
                same_id = ids is not None and j < b and ids[i] == ids[j]
                too_good = margin is not None and score > positive + margin
                duplicate = tolerance is not None and float(keys[i] @ keys[j]) >= 1 - tolerance
                if j == i or not (same_id or too_good or duplicate):
                    kept.append(score / temperature)
            top = max(kept)
            total += top + math.log(sum(math.exp(s - top) for s in kept)) - positive / temperature
        return total / b

    keys = target if hard is None else np.concatenate([target, hard])
    return (way(query, keys) + way(target, query)) / 2


def unit(rng, *shape):
    x = rng.standard_normal(shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_equal_vectors_give_log_b():
    same = F.normalize(torch.ones(7, 4), dim=-1)
    assert info_nce(same, same, temperature=0.02).item() == pytest.approx(math.log(7), rel=1e-5)


def test_two_orthogonal_pairs_by_hand():
    """Scores are 1/t on the diagonal and 0 beside it: each row costs log(1 + exp(-1/t))."""
    eye = torch.eye(2)
    assert info_nce(eye, eye, temperature=0.5).item() == pytest.approx(math.log1p(math.exp(-2.0)), rel=1e-5)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 3), st.booleans(), st.booleans(), st.booleans())
def test_equals_the_double_loop(seed, b, m, use_ids, use_margin, use_tolerance):
    rng = np.random.default_rng(seed)
    query, target = unit(rng, b, 5), unit(rng, b, 5)
    if b > 2:
        target[1] = target[0]
    hard = unit(rng, m, 5) if m else None
    ids = rng.integers(0, 3, b) if use_ids else None
    margin, tolerance = (0.1 if use_margin else None), (1e-5 if use_tolerance else None)
    got = info_nce(
        torch.tensor(query),
        torch.tensor(target),
        temperature=0.3,
        hard_negatives=None if hard is None else torch.tensor(hard),
        target_ids=None if ids is None else torch.tensor(ids),
        false_negative_margin=margin,
        duplicate_tolerance=tolerance,
    )
    assert got.item() == pytest.approx(brute_force(query, target, 0.3, hard, ids, margin, tolerance), rel=1e-9, abs=1e-9)


def test_masked_rows_keep_a_finite_gradient():
    query = F.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), dim=-1).requires_grad_()
    info_nce(query, query.detach(), temperature=0.02, target_ids=torch.zeros(3, dtype=torch.long)).backward()
    assert torch.isfinite(query.grad).all()


def test_wrong_shapes_and_temperatures_are_refused():
    with pytest.raises(ValueError, match="must both be"):
        info_nce(torch.zeros(2, 3), torch.zeros(3, 3), temperature=0.1)
    with pytest.raises(ValueError, match="above 0"):
        info_nce(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0.0)
    with pytest.raises(ValueError, match=r"hard_negatives \(2, 4\) must be \(M, 3\)"):
        info_nce(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0.1, hard_negatives=torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"target_ids \(3,\) must be \(2,\)"):
        info_nce(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0.1, target_ids=torch.zeros(3))


def test_hard_negatives_are_keys_of_queries_alone():
    """Orthogonal pairs and M = 2 hard negatives at cosine c with every query: a query row costs log(1 + e^-1/t + 2 e^(c-1)/t), a
    target row log(1 + e^-1/t) as without them."""
    t, c = 0.5, 0.6
    query = torch.eye(2, 3)
    hard = torch.tensor([[c, c, math.sqrt(1 - 2 * c * c)]] * 2)
    rows = math.log(1 + math.exp(-1 / t) + 2 * math.exp((c - 1) / t)), math.log(1 + math.exp(-1 / t))
    assert info_nce(query, query, temperature=t, hard_negatives=hard).item() == pytest.approx(sum(rows) / 2, rel=1e-5)


def test_every_query_sees_the_hard_negatives_of_all():
    """M counts over the batch, so the order of hard negatives does not matter."""
    rng = np.random.default_rng(0)
    query, target, hard = (torch.tensor(unit(rng, n, 5)) for n in (4, 4, 8))
    one, other = (info_nce(query, target, temperature=0.1, hard_negatives=h).item() for h in (hard, hard.flip(0)))
    assert one == pytest.approx(other, rel=1e-12)


def test_matryoshka_is_the_mean_over_prefixes():
    rng = np.random.default_rng(1)
    query, target, hard = (torch.tensor(unit(rng, n, 8)) for n in (4, 4, 3))
    options = {"temperature": 0.1, "duplicate_tolerance": 1e-5}
    found = matryoshka(info_nce, (2, 8), (1.0, 3.0))(query, target, hard_negatives=hard, **options)
    short = [F.normalize(x[:, :2], dim=-1) for x in (query, target, hard)]
    parts = [info_nce(x[0], x[1], hard_negatives=x[2], **options) for x in (short, (query, target, hard))]
    assert found.item() == pytest.approx((parts[0].item() + 3 * parts[1].item()) / 4, rel=1e-12)
    whole = matryoshka(info_nce, (8,))(query, target, **options)
    assert whole.item() == pytest.approx(info_nce(query, target, **options).item(), rel=1e-12)


def test_faulty_matryoshka_widths_are_refused():
    for dims, weights in (((), None), ((0, 2), None), ((2, 4), (1.0,)), ((2,), (0.0,))):
        with pytest.raises(ValueError, match=r"dims|weights"):
            matryoshka(info_nce, dims, weights)
    with pytest.raises(ValueError, match="dim 4 is above the width 3"):
        matryoshka(info_nce, (4,))(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0.1)


WORKER = """
import sys, torch, torch.distributed as dist, torch.nn.functional as F
from uvrlab.losses.contrastive import gather_with_grad, info_nce
rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
rows = torch.load(f"{folder}/rows.pt", weights_only=True)  # query, target, hard negatives of the whole batch
own = [x.chunk(2)[rank].requires_grad_() for x in rows]
info_nce(*[gather_with_grad(x) for x in own[:2]], temperature=0.1, hard_negatives=gather_with_grad(own[2])).backward()
torch.save([x.grad for x in own], f"{folder}/grads{rank}.pt")
dist.destroy_process_group()
"""


def test_two_processes_give_the_gradient_of_one_with_the_whole_batch(tmp_path):
    """Every process computes the whole loss, so gradients sum to twice that of one process, and averaging restores it."""
    rng = np.random.default_rng(2)
    rows = [torch.tensor(unit(rng, n, 5)) for n in (6, 6, 4)]
    torch.save(rows, tmp_path / "rows.pt")
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    whole = [x.requires_grad_() for x in rows]
    info_nce(*whole[:2], temperature=0.1, hard_negatives=whole[2]).backward()
    parts = [torch.load(tmp_path / f"grads{rank}.pt", weights_only=True) for rank in range(2)]
    for x, *halves in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.cat(halves) / 2, x.grad, rtol=1e-9, atol=1e-12)
