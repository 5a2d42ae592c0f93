"""Questions in the files of others: Daily-Omni and MUSIC-AVQA, as published, to rows of the `questions` table.

Neither holds spans. What a question needs is MUSIC-AVQA's own label; Daily-Omni, whose questions were made to need both, says
nothing of single ones, so all are `both`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]
_SLOT = re.compile(r"<[A-Za-z]+>")
_NEEDS = {"Audio": "sound", "Visual": "picture", "Audio-Visual": "both"}


class QuestionFileError(ValueError):
    """A file that is not what its format says: found, expected, remedy."""


def read_daily_omni(path: Path, split: str = "test") -> list[Row]:
    """Rows of Daily-Omni's `qa.json`. `clip_id` is the video's id; options lose the letters that they carry in the file."""
    return [_guarded(path, number, entry, split, _daily_omni) for number, entry in enumerate(_entries(path))]


def read_music_avqa(path: Path, split: str = "test") -> list[Row]:
    """Rows of a MUSIC-AVQA annotation file: open questions, their slots filled in order; deleted ones are left out."""
    kept = [(n, entry) for n, entry in enumerate(_entries(path)) if not entry.get("question_deleted")]
    return [_guarded(path, number, entry, split, _music_avqa) for number, entry in kept]


READERS: dict[str, Callable[[Path, str], list[Row]]] = {"daily-omni": read_daily_omni, "music-avqa": read_music_avqa}


def _entries(path: Path) -> list[Mapping[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise QuestionFileError(f"{path}: found {type(found).__name__}, expected a JSON list of objects; give the published file")
    return found


def _guarded(path: Path, number: int, entry: Mapping[str, Any], split: str, read: Callable[[Mapping[str, Any], int], Row]) -> Row:
    try:
        return {"split": split, "true_spans": [], **read(entry, number)}
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise QuestionFileError(f"{path}: entry {number}: {error!r}; correct it or take it out") from error


def _daily_omni(entry: Mapping[str, Any], number: int) -> Row:
    options = [re.sub(rf"^{letter}[.)]\s*", "", text) for letter, text in zip("ABCD", entry["Choice"], strict=True)]
    letter = str(entry["Answer"]).strip()
    answer = f"{letter}. {options['ABCD'.index(letter)]}"
    # one video has several questions, and the file gives them no id
    named = {"question_id": f"daily-omni-{entry['video_id']}-{number}", "clip_id": str(entry["video_id"])}
    return {**named, "question": str(entry["Question"]), "options": options, "answer": answer, "needs": "both"}


def _music_avqa(entry: Mapping[str, Any], number: int) -> Row:
    values = [str(value) for value in json.loads(entry["templ_values"])]
    text = str(entry["question_content"]).strip()
    if len(_SLOT.findall(text)) != len(values):
        raise ValueError(f"{len(values)} values {values} for the slots of {text!r}")
    filled = iter(values)
    question = _SLOT.sub(lambda _: next(filled), text)
    kind = json.loads(entry["type"])[0]
    answer = str(entry["anser"]).strip()  # so spelled upstream
    if not answer:
        raise ValueError("an empty answer")
    named = {"question_id": f"music-avqa-{entry['question_id']}", "clip_id": str(entry["video_id"])}
    return {**named, "question": question, "options": [], "answer": answer, "needs": _NEEDS[kind]}
