"""Daily-Omni's and MUSIC-AVQA's published files: small entries written out here, and the first rows of the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from uvrlab.data.question_files import QuestionFileError, read_daily_omni, read_music_avqa
from uvrlab.data.questions import from_row, read_questions, read_spans
from uvrlab.data.schema import write_table
from uvrlab.rewards.grounding import answer_reward

DAILY = {
    "Question": "What is heard when the sign appears?",
    "Choice": ["A. A bell", "B. 'B. we get out'", "C. Silence", "D. A: no"],
    "Answer": "B",
    "video_id": "-x_1",
    "Type": "AV Event Alignment",
}
MUSIC = {
    "video_id": "00000188",
    "question_id": 18,
    "type": '["Visual", "Location"]',
    "question_content": "What is the instrument on the <LR> of <Object>? ",
    "templ_values": '["left", "guzheng"]',
    "question_deleted": 0,
    "anser": "pipa",
}


def written(folder: Path, entries: list[dict[str, Any]]) -> Path:
    file = folder / "qa.json"
    file.write_text(json.dumps(entries))
    return file


def test_daily_omni_options_lose_their_letters_and_the_answer_keeps_one(tmp_path):
    (row,) = read_daily_omni(written(tmp_path, [DAILY]))
    assert row["options"] == ["A bell", "'B. we get out'", "Silence", "A: no"]
    assert (row["answer"], row["clip_id"], row["needs"]) == ("B. 'B. we get out'", "-x_1", "both")
    assert answer_reward("B", row["answer"], row["options"]) == 1.0 and answer_reward("A", row["answer"], row["options"]) == 0.0


def test_music_avqa_fills_its_slots_in_order_and_leaves_deleted_questions_out(tmp_path):
    rows = read_music_avqa(written(tmp_path, [MUSIC, {**MUSIC, "question_id": 19, "question_deleted": 1}]))
    assert [row["question"] for row in rows] == ["What is the instrument on the left of guzheng?"]
    assert rows[0] | {} == {
        "question_id": "music-avqa-18",
        "clip_id": "00000188",
        "split": "test",
        "question": "What is the instrument on the left of guzheng?",
        "options": [],
        "answer": "pipa",
        "needs": "picture",
        "true_spans": [],
    }


@pytest.mark.parametrize(
    ("read", "entry", "fault"),
    [
        (read_daily_omni, {**DAILY, "Answer": "E"}, "entry 0"),
        (read_daily_omni, {**DAILY, "Choice": ["A. one"]}, "entry 0"),
        (read_daily_omni, {}, "KeyError"),
        (read_music_avqa, {**MUSIC, "templ_values": "[]"}, "0 values"),
        (read_music_avqa, {**MUSIC, "anser": " "}, "empty answer"),
        (read_music_avqa, {**MUSIC, "type": '["Smell"]'}, "Smell"),
    ],
)
def test_a_faulty_entry_is_named(tmp_path, read, entry, fault):
    with pytest.raises(QuestionFileError, match=fault):
        read(written(tmp_path, [entry]))


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(QuestionFileError, match="expected a JSON list"):
        read_daily_omni(written(tmp_path, {"a": 1}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "read", "count"),
    [
        ("daily_omni_qa.json", read_daily_omni, 20),
        ("daily_omni_qa_example.json", read_daily_omni, 10),
        ("music_avqa_train.json", read_music_avqa, 10),
    ],
)
def test_published_rows_become_questions_that_their_own_answers_solve(shared, tmp_path, name, read, count):
    rows = read(shared / "data" / "annotation_samples" / name)
    assert len(rows) == count and len({row["question_id"] for row in rows}) == count
    assert all(answer_reward(row["answer"], row["answer"], row["options"]) == 1.0 for row in rows)
    assert not any("<" in row["question"] for row in rows)
    write_table("questions", rows, tmp_path / "questions")
    assert [q.question_id for q in read_questions(tmp_path)] == [row["question_id"] for row in rows]


def test_questions_are_read_without_their_true_spans(tmp_path):
    rows = [
        {**_row(i, split, needs), "true_spans": [{"start_s": 1.0, "end_s": 2.0}]}
        for i, (split, needs) in enumerate([("train", "both"), ("val", "picture"), ("rl", "sound")])
    ]
    write_table("questions", rows, tmp_path / "questions")
    found = read_questions(tmp_path, ["train", "rl"], ["both"])
    assert [q.question_id for q in found] == ["q0"] and not hasattr(found[0], "true_spans")
    assert found[0].prompt == "Which?\nA. bell\nB. hum\nGive times and captions, think, then answer."
    assert found[0].answer_text == "bell"
    assert found == [from_row(rows[0])]
    assert read_spans(tmp_path) == {f"q{i}": [(1.0, 2.0)] for i in range(3)}


def _row(number: int, split: str, needs: str) -> dict[str, Any]:
    asked = {"question": "Which?", "options": ["bell", "hum"], "answer": "A. bell", "needs": needs}
    return {"question_id": f"q{number}", "clip_id": "c", "split": split, **asked}
