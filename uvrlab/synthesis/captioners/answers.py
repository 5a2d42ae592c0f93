"""What an answer must be, whoever writes it: a JSON schema and a word range for each kind, and the faults found in words.

Kinds: the texts of `schema.WORD_RANGES` (caption styles, frame captions, changes by strategy), `trace`, `questions` and `answer`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from uvrlab.data.schema import WORD_RANGES

TRACE_RANGE = (15, 200)
_TEXT = {"type": "string", "minLength": 1, "maxLength": 4000}
# A still shows no before or after.
_MOTION = re.compile(
    r"\b(then|afterwards?|moves?|moving|begins?|starts?|continues?|keeps?|(camera|view) (pans?|zooms?|tilts?|goes))\b", re.I
)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_QUESTION = _object(
    question=_TEXT,
    options={"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 6},
    answer=_TEXT,
)
SCHEMAS: dict[str, dict[str, Any]] = {
    **{kind: _object(text=_TEXT) for kind in WORD_RANGES},
    "trace": _object(think=_TEXT, answer=_TEXT),
    "questions": _object(questions={"type": "array", "items": _QUESTION, "minItems": 1, "maxItems": 4}),
    "answer": _object(answer=_TEXT),
}


def problems(kind: str, answer: Any) -> list[str]:
    """Every fault of a parsed answer, each as a sentence that tells a writer what to change; empty: it is valid."""
    import jsonschema

    faults = [
        f"{'.'.join(map(str, e.absolute_path)) or 'the answer'}: {e.message}"
        for e in jsonschema.Draft202012Validator(SCHEMAS[kind]).iter_errors(answer)
    ]
    if faults:
        return faults
    if kind in WORD_RANGES:
        return text_problems(kind, answer["text"])
    if kind == "trace":
        return _out_of_range("think", answer["think"], *TRACE_RANGE)
    if kind == "questions":
        return [
            f"{q['answer']!r} is none of its options {q['options']}" for q in answer["questions"] if q["answer"] not in q["options"]
        ]
    return []


def text_problems(kind: str, text: str) -> list[str]:
    """Faults of one text: its number of words, and in a frame's caption words that imply motion."""
    faults = _out_of_range("text", text, *WORD_RANGES[kind])
    if kind.startswith("frame") and (found := _MOTION.search(text)):
        faults.append(f"text: {found.group(0)!r} implies motion; describe what one still frame shows")
    return faults


def _out_of_range(name: str, text: str, low: int, high: int) -> list[str]:
    count = len(text.split())
    return [] if low <= count <= high else [f"{name}: found {count} words, expected {low} to {high}"]


def parsed(content: str) -> Any:
    """The JSON in a model's reply, which may stand in a fenced block. Raises ValueError."""
    fenced = re.fullmatch(r"\s*```(?:json)?\s*(.*?)\s*```\s*", content, re.S)
    try:
        return json.loads(fenced.group(1) if fenced else content)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from error
