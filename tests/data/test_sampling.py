"""Sampling times: inside the span, ordered, evenly spaced; windows tile their span."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab.data.sampling import sample_times, sample_times_fps, windows

spans = st.tuples(st.floats(0, 1e4), st.floats(0.01, 1e4)).map(lambda s: (s[0], s[0] + s[1]))


def test_eight_times_of_four_seconds_are_bin_middles():
    """Bins of 0.5 s: middles 0.25, 0.75, ..."""
    assert sample_times(4.0) == [0.25 + 0.5 * i for i in range(8)]


@given(spans, st.integers(1, 64))
def test_times_lie_inside_in_order_and_evenly(span, n):
    times = sample_times(span[1], n, *span)
    assert len(times) == n
    assert all(span[0] < t < span[1] for t in times)
    assert n < 3 or np.allclose(np.diff(times), (span[1] - span[0]) / n, rtol=1e-6, atol=1e-9)


@given(st.floats(0.1, 500), st.floats(0.1, 30), st.integers(2, 64))
def test_rate_sampling_respects_cap_and_multiple(duration_s, fps, cap):
    n = len(sample_times_fps(duration_s, fps, cap, multiple=2))
    assert n % 2 == 0
    assert 2 <= n <= cap


@given(spans, st.floats(0.5, 60))
def test_windows_tile_the_span(span, max_s):
    cut = windows(*span, max_s)
    assert cut[0][0] == span[0]
    assert cut[-1][1] == span[1]
    assert all(a[1] == b[0] for a, b in pairwise(cut))
    assert all(0 < b - a <= max_s * (1 + 1e-6) for a, b in cut)


@pytest.mark.parametrize("bad", [{"n": 0}, {"start_s": 5.0}, {"start_s": -1.0}])
def test_an_empty_span_is_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        sample_times(4.0, **bad)
