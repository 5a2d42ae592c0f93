"""Wording: hashes equal plain Python on any text, and a copied caption is found among captions that only share phrases."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from uvrlab.validation.overlap import SHINGLE_WORDS, find_overlaps
from uvrlab.validation.words import bags, normalised, shingles, word_hashes

ASKED = "a red star glides slowly to the left while a blue ring spins in the middle of the picture"


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


@settings(max_examples=50)
@given(st.lists(st.text(alphabet="abB c,.9", max_size=20), min_size=1, max_size=6))
def test_word_hashes_and_runs_are_those_of_plain_python(texts: list[str]) -> None:
    hashes, rows = word_hashes(pa.array(texts))
    plain = [(i, word) for i, text in enumerate(texts) for word in _words(text)]
    assert rows.tolist() == [i for i, _ in plain]
    assert (
        len(set(zip([w for _, w in plain], hashes.tolist(), strict=True)))
        == len({w for _, w in plain})
        == len(set(hashes.tolist()))
    )
    runs, owners = shingles(hashes, rows, 2)
    wanted = [(i, pair) for i, text in enumerate(texts) for pair in zip(_words(text), _words(text)[1:], strict=False)]
    assert owners.tolist() == [i for i, _ in wanted]
    assert len(set(runs.tolist())) == len({pair for _, pair in wanted})


def test_bags_are_unit_rows_and_ignore_case_and_marks() -> None:
    rows = bags(pa.array(["A red  Star!", "a red star", None, "a blue ring"]))
    assert np.allclose(np.linalg.norm(rows, axis=1), [1, 1, 0, 1])
    assert np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[3])


def _judged(*texts: str) -> pd.DataFrame:
    return pd.DataFrame({"name": [f"q{i}" for i in range(len(texts))], "text": normalised(pa.array(texts)).to_pandas()})


def _training(*texts: str) -> pd.DataFrame:
    return pd.DataFrame({"name": [f"p{i}" for i in range(len(texts))], "text": texts}, dtype=object)


def test_a_caption_said_again_with_other_marks_is_found_word_for_word() -> None:
    found = find_overlaps(_judged(ASKED), iter([_training("nothing of the kind"), _training("x", ASKED.upper() + "!")]))
    assert [(o.query, o.pair, o.exact) for o in found] == [("q0", "p1", True)]


def test_a_caption_within_a_longer_text_is_found_with_its_share() -> None:
    """19 words hold 14 runs of six; the copy lacks the last word, so 13 of them remain."""
    runs = len(ASKED.split()) - SHINGLE_WORDS + 1
    copy = "in this clip " + " ".join(ASKED.split()[:-1]) + " and then it ends"
    found = find_overlaps(_judged(ASKED), iter([_training("a ring", copy)]))
    assert runs == 14 and [(o.pair, o.exact, o.share) for o in found] == [("p1", False, round(13 / 14, 4))]


def test_a_phrase_that_many_judged_texts_share_is_no_evidence() -> None:
    phrase = "the camera stays still and the light does not change"
    judged = _judged(*[f"{phrase} while number {i} jumps over {i} fences" for i in range(20)])
    assert find_overlaps(judged, iter([_training(*[f"{phrase} and number {i} sleeps" for i in range(50)])])) == []


def test_a_few_words_in_common_are_no_overlap() -> None:
    other = "a red star glides slowly to the right while a green box shrinks in the corner of the room"
    assert find_overlaps(_judged(ASKED), iter([_training(other)])) == []
