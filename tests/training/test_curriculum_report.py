"""The page of the curriculum: what it must say first, its schedule, and negatives to look at."""

from __future__ import annotations

import numpy as np
import pytest

from uvrlab.config import Config, CurriculumConfig, StageConfig
from uvrlab.data import schema
from uvrlab.data.items import Item
from uvrlab.training import curriculum_report
from uvrlab.training.curriculum_epochs import Epoch
from uvrlab.training.curriculum_heldout import Measured
from uvrlab.training.curriculum_plan import Step
from uvrlab.training.curriculum_replay import Answer
from uvrlab.training.heldout import HeldOut
from uvrlab.training.pairs import Pair

TRAIN = [
    Pair(str(i), "T2V/rich", "train", Item(f"q{i}", text=f"query {i}"), Item(f"t{i}", text=f"target {i}"), i) for i in range(4)
]
MINED = [
    {"epoch": 1, "query_id": "0", "corpus_id": "1", "rank": 1, "score": 0.79, "positive_score": 0.8, "verdict": "too close"},
    {"epoch": 1, "query_id": "0", "corpus_id": "2", "rank": 2, "score": 0.5, "positive_score": 0.8, "verdict": "kept"},
]
EPOCHS = [Epoch({"T2V/rich": 0.4 + 0.1 * n}, {"T2V/rich": 1.0}, [Step("pairs", [0, 1])], MINED if n == 0 else []) for n in range(2)]
COST = {"probing_s": 1.0, "mining_s": 2.0, "training_s": 7.0}


def measured(disc: float, form: float) -> Measured:
    """400 held-out pairs of which a share is hit, 100 questions of which a share is answered in form."""

    def held(share: float, n: int) -> np.ndarray:
        return (np.arange(n) < share * n).astype(float)

    hits = HeldOut(held(disc, 400), ("T2V/rich",) * 400, 0.01)
    return Measured(hits, hits, held(1.0, 50), held(form, 100), held(0.5, 100))


@pytest.fixture
def made(tmp_path):
    def make(before: Measured, after: Measured, answers: int = 1):
        own = CurriculumConfig(epochs=2, epoch_steps=10, batch_size=2)
        config = StageConfig[CurriculumConfig](stage="curriculum", run=Config().run, backbone="nano-omni", own=own)
        said = [Answer("q", Item("q", text="which one?"), "<answer>that one</answer>")] * answers
        history = [{"step": 1, "loss": 1.0, "disc": 1.0}, {"step": 2, "loss": 0.5, "next_token": 0.5}]
        return curriculum_report.make(config, TRAIN, TRAIN, said, (before, after), EPOCHS, history, [], COST, tmp_path)

    return make


def test_the_first_line_says_whether_the_plain_vector_was_kept(made):
    """Equal: kept. One pair in ten lost: a fall of 10 points."""
    for late, words in (
        (0.5, "disc R@1 is non-inferior at 2 points"),
        (0.4, "disc R@1 is not shown to be non-inferior at 2 points"),
    ):
        page = made(measured(0.5, 1.0), measured(late, 1.0)).page.html()
        body = page[page.index("</header>") :]
        assert words in body and body.index(words) < body.index('class="headline"')


def test_an_ability_that_fell_is_a_warning_with_its_interval(made):
    report = made(measured(0.5, 1.0), measured(0.5, 0.7))
    assert [w for w in report.warnings if w.startswith("grounded_form fell: -30.0 points [")]
    assert not [w for w in report.warnings if "thoughts_well_formed fell" in w]
    assert report.metrics["grounded_form_after"].n == 100 and report.metrics["grounded_form_after"].value == 0.7


def test_what_was_not_replayed_is_said(made):
    told = made(measured(0.5, 1.0), measured(0.5, 1.0), answers=0).warnings
    assert [w.split(":")[0] for w in told] == ["no generative replay", "no grounding replay"]


def test_the_page_shows_schedule_negatives_and_the_share_of_the_time_that_each_part_took(made, tmp_path):
    report = made(measured(0.5, 1.0), measured(0.6, 1.0))
    page = report.page.html()
    for words in ("Probability of a task", "too close", "query 0", "query 2", "that one", "mining_s", "0.2"):
        assert words in page, words
    assert report.counts["mined_negatives"] == 2 and report.cost == COST
    assert schema.read_table("rejects", tmp_path / "rejects.parquet") == []
    told = curriculum_report.numbers(EPOCHS)
    assert told[0] == {
        "epoch": 1,
        "scores": {"T2V/rich": 0.4},
        "probabilities": {"T2V/rich": 1.0},
        "steps": {"pairs": 1},
        "mined": {"kept": 1, "too close": 1},
    }
