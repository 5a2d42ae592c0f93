"""A report is one safe, self-contained, bounded file whose numbers carry unit, n and interval."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from uvrlab import plots
from uvrlab.report import Report, Step, Strip
from uvrlab.report_numbers import number, tick
from uvrlab.runs import Metric

VOID = {"meta", "img", "line", "rect", "circle", "polyline", "polygon"}
SCORE = Metric(value=0.612, unit="share", low=0.57, high=0.654, n=500)


class Checker(HTMLParser):
    """Every tag is closed in order; collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tags, self.links, self.words = [], set(), [], ""
        self.feed(page)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def film(n: int = 4, side: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def everything(words: str) -> Report:
    """Every kind of block, with `words` wherever text goes."""
    report = Report(words, words).headline({words: SCORE}).warning(words).section(words, words).text(words)
    report.table([{words: words, "R@1": SCORE, "verdict": "hit"}], units={words: words}, caption=words)
    report.key_values({words: words}).details(words, words)
    report.bars({words: {words: SCORE, "b": 0.1}}, "share", chance=0.002, caption=words).effects({words: SCORE})
    report.lines({words: [(0, 1), (1, 2)]}, words, words).histogram([1, 2, 3], words)
    report.heat([words], [words], [[0.5]], words).waveform(np.zeros(100), 10, [(0, 1, words)])
    report.frames([Strip(film(), words, (0, 0.25), "miss", words)], caption=words)
    step = Step(words, words, Strip(film(1), words), (np.ones(50), 10), [(0, 1, words)], words, [{words: 1}], {words: 0.3}, words)
    report.walk([step], caption=words)
    manifest = {"stage": words, "digest": "d", "code_digest": "c", "seed": 0, "inputs": {words: words}, "config": {words: words}}
    return report.provenance(
        {**manifest, "files": [{"path": words, "bytes": 1, "rows": None, "sha256": "e"}], "versions": {words: "1"}}
    )


def test_every_block_makes_well_formed_html_without_scripts_or_links() -> None:
    page = Checker(everything("plain").html())
    assert "script" not in page.tags
    assert all(re.match(r"#s\d+$|data:image/jpeg;base64,", link) for link in page.links)
    assert not re.search(r"https?:|@import|url\(", everything("plain").html())


def test_text_is_escaped_in_every_block() -> None:
    hostile = "<script>alert('1')</script>\"&<img src=x onerror=y>"
    page = Checker(everything(hostile).html())
    assert "script" not in page.tags
    assert all(link.startswith(("#s", "data:")) for link in page.links)
    assert page.words.count(hostile) >= 15


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=20))
def test_any_text_survives(words: str) -> None:
    Checker(everything(words).html())


def test_equal_reports_are_equal_bytes_and_write_is_whole(tmp_path: Path) -> None:
    path = everything("x").write(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == everything("x").html()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.6123, "share", "61.2 %"),
        (-0.031, "points", "−3.1 points"),
        (0.031, "points", "+3.1 points"),
        (12345, "clips", "12,345 clips"),
        (3.14159, "s", "3.142 s"),
        (1234.5, "s", "1,234 s"),
        (0.000123, "", "1.23e−4"),
        (2_345_000_000, "B", "2.35 GB"),
        (999, "B", "999 B"),
        (0, "B", "0 B"),
        (np.float32(0.5), "cosine", "0.5 cosine"),
        (0.0, "", "0"),
        (True, "", "yes"),
        (None, "share", "–"),
        (float("nan"), "share", "not finite"),
        ("a<b", "", "a&lt;b"),
    ],
)
def test_numbers_read_as_written_by_hand(value: object, unit: str, expected: str) -> None:
    assert number(value, unit) == expected


def test_axis_labels_have_no_more_digits_than_needed() -> None:
    assert [tick(v, "share") for v in (0.0, 0.2, 0.025)] == ["0 %", "20 %", "2.5 %"]
    assert [tick(v, "points") for v in (-0.05, 0.0, 0.1)] == ["−5", "0", "+10"]


def test_a_metric_shows_unit_interval_and_n_wherever_it_stands() -> None:
    for report in (Report("t").headline({"R@1": SCORE}), Report("t").key_values({"R@1": SCORE})):
        words = Checker(report.html()).words
        assert re.search(r"61\.2 %.*\[57\.0, 65\.4\] n 500", words)
    assert "95 % intervals, n 500" in Report("t").bars({"a": SCORE}, "share").html()


def test_a_table_writes_unit_and_n_once() -> None:
    words = Checker(Report("t").table([{"R@1": SCORE, "R@5": SCORE}]).html()).words
    assert "R@1 %R@5 %n61.2 [57.0, 65.4]61.2 [57.0, 65.4]500" in words
    words = Checker(Report("t").table([{"x": i} for i in range(150)]).html()).words
    assert "the first 100 of 150 rows" in words


def test_bars_put_value_interval_and_chance_where_they_belong() -> None:
    """Axis 0 to 80 %: 0.6 stands at 75 %, its interval from 62.5 % to 87.5 %, chance 0.2 at 25 %."""
    html = plots.bars({"a": Metric(value=0.6, unit="share", low=0.5, high=0.7)}, "share", 0.2)
    assert '<rect class="mark" x="0.00%" width="75.00%"' in html
    assert '<line class="whisker" x1="62.50%" x2="87.50%"' in html
    assert '<line class="chance" x1="25.00%" x2="25.00%"' in html


def test_effects_stand_on_both_sides_of_zero() -> None:
    """Axis −6 to +6 points: −3 stands at 25 %, +5 at 91.67 %, zero in the middle."""
    html = plots.bars({"a": -0.03, "b": 0.05, "c": -0.05}, "points", dots=True)
    assert '<circle class="dot" cx="25.00%"' in html
    assert '<circle class="dot" cx="91.67%"' in html
    assert '<line class="zero" x1="50.00%"' in html


def test_curves_leave_out_what_is_not_finite_and_say_so() -> None:
    points = [(0, 1.0), (1, float("nan")), (2, 3.0), (3, float("inf"))]
    assert "2 points are not finite and left out" in plots.curves({"a": points}, "step", "loss")
    assert "1 points are not finite or not positive" in plots.curves({"a": [(0, 0), (1, 1), (2, 100)]}, "x", "y", log_y=True)
    assert "no finite points" in plots.curves({"a": [(0, float("nan"))]}, "x", "y")


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=150)
@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=200), st.booleans())
@example([(0, 0), (0, 1e-201)], False)
@example([(0, 1e9), (1, 1e9 + 1e-6)], False)
@example([(1e308, 5e-324), (-1e308, 1e308)], True)
@example([(0, 1e-14), (1, 3e-14)], False)
def test_points_stay_inside_the_plot(points: list[tuple[float, float]], log_y: bool) -> None:
    html = plots.curves({"a": points}, "x", "y", log_y=log_y)
    for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", " ".join(re.findall(r'points="([^"]*)"', html))):
        assert -0.01 <= float(x) <= 100.01
        assert -0.01 <= float(y) <= 100.01


@pytest.mark.parametrize(
    "values", [[0.0], [5.0, 5.0], [1e-9, 2e-9], [-1e12, 1e12], [float("nan"), 1.0], [1e308, -1e308], [5e-324, 0.0]]
)
def test_odd_ranges_draw(values: list[float]) -> None:
    report = Report("t").histogram(values, "s").bars({str(i): v for i, v in enumerate(values)}, "s")
    Checker(report.heat(["r"], ["c"] * len(values), [values], "x", diverging=True).html())


def test_long_curves_are_thinned() -> None:
    noise = np.random.default_rng(0).normal(size=50_000)
    assert len(plots.curves({"a": list(enumerate(noise.tolist()))}, "step", "loss")) < 20_000


def test_pictures_keep_the_report_under_its_size() -> None:
    """60 strips of noise, which JPEG cannot shrink: quality falls first, then later frames are left out and counted."""
    strips = [Strip(film(8, 96, seed), f"clip {seed}") for seed in range(60)]
    report = Report("t", max_bytes=600_000).frames(strips)
    page = report.html()
    assert len(page.encode()) <= 600_000
    assert page.count("data:image/jpeg") > 50
    assert "8 of 8 frames left out: the report is at its size limit" in page
    assert "left out" not in Report("t").frames(strips[:2]).html()


def test_large_frames_shrink_and_keep_their_shape() -> None:
    page = Report("t").frames([Strip(np.zeros((1, 720, 1280, 3), np.uint8), "wide")]).html()
    assert 'width="192" height="108"' in page
    with pytest.raises(ValueError, match=r"\(T, H, W, 3\) uint8, found \(4, 4\) float64"):
        Report("t").frames([Strip(np.zeros((4, 4)), "wrong")])


def test_report_imports_neither_torch_nor_pil_at_the_top() -> None:
    import subprocess
    import sys

    code = "import sys, uvrlab.report; print(sorted({'torch', 'PIL', 'faiss', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Radar.


def test_a_radar_draws_a_profile_to_scale_and_needs_three_axes():
    """Four axes in a circle of radius 120 round (230, 170), rim 40 %: 20 % on the first axis is 60 above the centre."""
    page = Report("R").radar(["a", "b", "<c>", "d"], {"model": [0.2, 0.4, 0.0, 0.1]}, "share").html()
    Checker(page)
    assert "230.0,110.0 350.0,170.0 230.0,170.0 200.0,170.0" in page
    assert "&lt;c&gt;" in page and "40 %" in page
    with pytest.raises(ValueError, match="three axes"):
        Report("R").radar(["a", "b"], {"model": [0.1, 0.2]}, "share")
