"""Cuts in memory: which frames and samples a span holds, and which pairs of a response may be judged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.training.spans import Footage, cut, grounded_pairs, rest


def film(duration_s: float = 4.0, fps: float = 10.0, rate_hz: int = 16000) -> Footage:
    """Frame i is grey value i; sample i is i / n, so each says where it comes from."""
    n, samples = round(duration_s * fps), round(duration_s * rate_hz)
    frames = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 2, 2, 3))
    return Footage("clip", frames, fps, (np.arange(samples) / samples).astype(np.float32), rate_hz, duration_s)


def test_a_cut_holds_the_middles_of_its_equal_parts_and_its_own_samples():
    """[1, 2) at 10 fps in 4 frames: middles 1.125, 1.375, 1.625, 1.875 are frames 11, 13, 16, 18."""
    found = cut(film(), [(1.0, 2.0)], 4)
    assert found.frames[:, 0, 0, 0].tolist() == [11, 13, 16, 18]
    assert (found.fps, found.duration_s) == (4.0, 1.0)
    np.testing.assert_array_equal(found.wave, film().wave[16000:32000])


def test_joined_spans_are_one_clip_without_the_gap():
    found = cut(film(), [(0.0, 1.0), (3.0, 4.0)], 4)
    assert found.frames[:, 0, 0, 0].tolist() == [2, 7, 32, 37]
    assert found.duration_s == 2.0 and found.fps == 2.0
    np.testing.assert_array_equal(found.wave, np.concatenate([film().wave[:16000], film().wave[48000:]]))


def test_what_lies_outside_the_clip_is_clamped_or_nothing():
    assert cut(film(), [(3.5, 9.0)]).duration_s == 0.5
    assert cut(film(), [(4.0, 5.0)]) is None
    assert cut(film(), [(2.0, 2.0)]) is None
    assert cut(film(), [(4.0, 5.0), (0.0, 1.0)]).duration_s == 1.0


def test_silence_and_slivers_have_no_sound():
    silent = Footage("clip", film().frames, 10.0, np.zeros(64000, np.float32), 16000, 4.0)
    assert cut(silent, [(0.0, 2.0)]).wave is None
    assert cut(film(), [(1.0, 1.04)]).wave is None
    assert cut(film(), [(1.0, 1.06)]).wave is not None


spans = st.lists(st.tuples(st.floats(0, 4), st.floats(0.01, 2)), max_size=5).map(lambda rows: [(a, a + b) for a, b in rows])


@settings(max_examples=100)
@given(spans)
def test_spans_and_their_rest_fill_the_clip_without_overlap(found):
    left = rest(found, 4.0)
    for at in np.linspace(0.0005, 3.9995, 400):
        inside = any(a <= at < b for a, b in found)
        assert inside != any(a <= at < b for a, b in left)
    assert left == sorted(left) and all(b > a for a, b in left)


def test_strict_pairs_are_those_of_the_parser_and_published_ones_are_let_pass():
    body = "<time>{}</time><caption>a star</caption>{}<thinking>so</thinking><answer>A</answer>"
    good = body.format("0.5-1.0", "")
    assert grounded_pairs(good, 4.0, "strict") == grounded_pairs(good, 4.0, "published") == [((0.5, 1.0), "a star")]
    reversed_ = body.format("3.0-1.0", "<time>1.0-2.0</time><caption></caption>")
    assert grounded_pairs(reversed_, 4.0, "strict") is None
    assert grounded_pairs(reversed_, 4.0, "published") == [((1.0, 2.0), "")]
    late = body.format("5.0-6.0", "")
    assert grounded_pairs(late, 4.0, "strict") is None
    assert grounded_pairs(late, 4.0, "published") == [((5.0, 6.0), "a star")]
    assert grounded_pairs("nothing", 4.0, "published") == []


@pytest.mark.parametrize("rules", ["strict", "published"])
def test_an_infinite_time_is_no_span(rules):
    assert not grounded_pairs(f"<time>1.0-{'9' * 400}</time><caption>a</caption>", 4.0, rules)
