"""OmniVideo-R1's grounded responses (arXiv 2602.05847): pairs of `<time>` and `<caption>`, then `<thinking>`, then `<answer>`.

Parsed under strict rules, rewarded under strict or published ones, and the answer scored.

Deliberately not here: judges of what a span shows, and anything that knows a true span.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Span = tuple[float, float]
Rules = Literal["strict", "published"]
Reason = Literal[
    "template",
    "nested tag",
    "second answer",
    "text outside tags",
    "empty part",
    "too many spans",
    "bad time",
    "zero length",
    "reversed",
    "overlap",
    "out of order",
    "past the end",
]
MAX_SPANS = 8
ROUNDING_S = 0.05  # times have one decimal: the end of a clip may be rounded up

_TAG = re.compile(r"(</?(?:time|caption|thinking|answer)>)")
_TIMES = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*-\s*([0-9]+(?:\.[0-9]+)?)\s*")
_TIME, _CAPTION = re.compile("<time>"), re.compile("<caption>")
_TIMED = re.compile(r"<time>\s*\d+(?:\.\d*)?\s*-\s*\d+(?:\.\d*)?\s*</time>\s*<caption>")  # a point without digits is let pass
_TURN = re.compile(r"</thinking>\s*<answer>")
_PAIR = ["<time>", "</time>", "<caption>", "</caption>"]
_CLOSE = ["<thinking>", "</thinking>", "<answer>", "</answer>"]


class ResponseFault(ValueError):
    """A response that breaks a strict rule; `reason` names the rule."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True)
class GroundedResponse:
    """What a response says: spans in seconds, a caption each, the reasoning, the answer; texts without outer white space."""

    spans: tuple[Span, ...]
    captions: tuple[str, ...]
    thinking: str
    answer: str


def parse_response(text: str, duration_s: float | None = None) -> GroundedResponse:
    """The response in `text` under the strict rules.

    1 to 8 pairs of time and caption, then thinking, then answer, with nothing but white space between and around them; no part is
    empty or holds one of the tags. Times are decimal seconds with a plain hyphen, and spans are ordered, disjoint (they may
    touch), longer than 0 and, where `duration_s` is given, inside the clip; an end within rounding of it is set to it.

    Raises:
        ResponseFault: with the `reason` of the first rule that is broken; a ValueError of no other kind for any text.
        ValueError: a duration that is not positive and finite.
    """
    if duration_s is not None and not (math.isfinite(duration_s) and duration_s > 0):
        raise ValueError(f"found duration_s {duration_s}; expected positive seconds, or None where it is unknown")
    *pairs, thinking, answer = _parts(text)
    if len(pairs) > 2 * MAX_SPANS:
        raise ResponseFault("too many spans", f"found {len(pairs) // 2}, expected at most {MAX_SPANS}")
    spans: list[Span] = []
    for time in pairs[::2]:
        spans.append(_span(time, spans[-1] if spans else None, duration_s))
    return GroundedResponse(tuple(spans), tuple(pairs[1::2]), thinking, answer)


def format_reward(text: str, *, rules: Rules = "strict", duration_s: float | None = None) -> float:
    """1.0 or 0.0. `strict`: `parse_response` accepts the text, for a clip of `duration_s`. A strict 1.0 is a published 1.0.

    `published`: as the released code judges, whatever the clip. At least one pair of well-formed time and caption, as many time
    tags and as many caption tags as pairs, and somewhere a thinking directly followed by an answer. It accepts overlapping,
    repeated, reversed and out-of-range spans, empty parts, and text around them.
    """
    if rules == "published":
        return _published(text)
    if rules != "strict":
        raise ValueError(f"found rules {rules!r}; expected strict or published")
    try:
        parse_response(text, duration_s)
    except ResponseFault:
        return 0.0
    return 1.0


def first_answer(text: str) -> str | None:
    """What stands in the first `<answer>` of any text, as the released code reads it; None if there is none."""
    inside, closed, _ = text.partition("<answer>")[2].partition("</answer>")
    return inside.strip() if closed else None


def _published(text: str) -> float:
    n_pairs = _count(_TIMED, "</caption>", text)
    n_times, n_captions = _count(_TIME, "</time>", text), _count(_CAPTION, "</caption>", text)
    _, _, thinking = text.partition("<thinking>")
    turn = _TURN.search(thinking)
    return float(1 <= n_pairs == n_times == n_captions and turn is not None and "</answer>" in thinking[turn.end() :])


def _count(opening: re.Pattern[str], closing: str, text: str) -> int:
    """How many times `opening`, anything, `closing` stands in `text`, without overlap; in linear time, as rollouts may ramble."""
    n = end = 0
    while (match := opening.search(text, end)) and (at := text.find(closing, match.end())) >= 0:
        n, end = n + 1, at + len(closing)
    return n


def _parts(text: str) -> list[str]:
    """The texts inside the tags, in order: time, caption, ..., thinking, answer."""
    pieces = _TAG.split(text)
    tags = pieces[1::2]
    _check_tags(tags)
    for outside in pieces[::4]:
        if outside.strip():
            raise ResponseFault("text outside tags", f"found {outside.strip()[:40]!r}, expected white space between the elements")
    inside = [piece.strip() for piece in pieces[2::4]]
    if "" in inside:
        raise ResponseFault("empty part", f"found nothing in {tags[2 * inside.index('')]}, expected text")
    return inside


def _check_tags(tags: list[str]) -> None:
    n_pairs = 0
    while tags[4 * n_pairs : 4 * n_pairs + 4] == _PAIR:
        n_pairs += 1
    begun = tags[4 * n_pairs : 4 * n_pairs + 1] == ["<time>"]
    expected = _PAIR * max(n_pairs + begun, 1) + _CLOSE
    if tags == expected:
        return
    at = next((i for i, (a, b) in enumerate(zip(tags, expected, strict=False)) if a != b), min(len(tags), len(expected)))
    found, wanted = [*tags, "the end"][at], [*expected, "the end"][at]
    reason: Reason = "template"
    if wanted == "the end" and found == "<answer>":
        reason = "second answer"
    elif wanted.startswith("</") and found != "the end":
        reason = "nested tag"
    raise ResponseFault(reason, f"found {found} as tag {at + 1}, expected {wanted}")


def _span(time: str, previous: Span | None, duration_s: float | None) -> Span:
    match = _TIMES.fullmatch(time)
    start_s, end_s = (float(match[1]), float(match[2])) if match else (math.inf, math.inf)
    if not math.isfinite(start_s + end_s):
        raise ResponseFault("bad time", f"found {time[:40]!r}, expected seconds with a plain hyphen such as 1.0-2.5")
    if end_s <= start_s:
        raise ResponseFault("zero length" if end_s == start_s else "reversed", f"found {time}, expected an end after the start")
    if previous and start_s < previous[1]:
        reason: Reason = "out of order" if end_s <= previous[0] else "overlap"
        raise ResponseFault(reason, f"found {time} after {previous[0]:g}-{previous[1]:g}, expected a start not before that end")
    if duration_s is None:
        return start_s, end_s
    if start_s >= duration_s or end_s > duration_s + ROUNDING_S + 1e-9:
        raise ResponseFault("past the end", f"found {time} in a clip of {duration_s:g} s")
    return start_s, min(end_s, duration_s)


# --- answers ---

_LETTER = re.compile(r"\(?([A-Za-z])(?:[.):,]|\s*$)")
_ARTICLES = {"a", "an", "the"}


def answer_reward(answer: str, reference: str, options: Sequence[str] = ()) -> float:
    """0..1: how far `answer` agrees with `reference`.

    With options (bare, or lettered as "A. text"): 1.0 if both name the same option, else 0.0. A text names an option by its letter
    ("B", "(b)", "B. green star") or by the whole words of one option; where the two disagree, the letter counts.
    Without: 1.0 for equal words, else F1 of the words that both hold in the same order, so that "first a star, then a ring"
    is not right for the opposite. Case, punctuation and articles are ignored.

    ValueError if the reference is empty or names none of the options.
    """
    if not options:
        return _in_order_f1(answer, reference)
    right = _option(reference, options)
    if right is None:
        raise ValueError(f"reference {reference!r} names none of the options {list(options)}; correct the question or drop it")
    return float(_option(answer, options) == right)


def _option(text: str, options: Sequence[str]) -> int | None:
    """Which option a text names, None if none or more than one."""
    letter = _LETTER.match(text.strip())
    if letter:
        place = ord(letter[1].upper()) - ord("A")
        return place if place < len(options) else None
    bare = [_words(_unlettered(option, place)) for place, option in enumerate(options)]
    same = [place for place, option in enumerate(bare) if option and option == _words(text)]
    return same[0] if len(same) == 1 else None


def _unlettered(option: str, place: int) -> str:
    """An option without its own letter: "B. green star", the second one, becomes "green star"."""
    letter = _LETTER.match(option)
    own = letter and ord(letter[1].upper()) - ord("A") == place
    return option[letter.end() :] if letter and own and letter.end() < len(option) else option


def _words(text: str) -> list[str]:
    found = re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
    return [word for word in found if word not in _ARTICLES] or found


def _in_order_f1(answer: str, reference: str) -> float:
    given, wanted = _words(answer), _words(reference)
    if not reference.strip():
        raise ValueError("found an empty reference answer; correct the question or drop it")
    if not given or not wanted:
        return float(answer.strip() == reference.strip())
    common = [0] * (len(wanted) + 1)  # longest common subsequence with each prefix of `wanted`
    for word in given:
        before = common[:]
        for i, other in enumerate(wanted):
            common[i + 1] = before[i] + 1 if word == other else max(before[i + 1], common[i])
    return 2 * common[-1] / (len(given) + len(wanted))
