"""Non-descriptive text: too short, repetitive, mostly function words, file names and channel talk, or words that fit any video.

English word lists; a text in another language is judged by its length, variety and boilerplate alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from uvrlab.config import FiltersConfig
from uvrlab.synthesis.filters.table import FILTERS, Row, judge

VARIETY_WORDS = 40  # variety falls with length, so it is that of the first 40 words


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
FUNCTION = _words(
    "a an the this that these those some any each every all both no not and or but nor so if then than as of in on at to from by "
    "for with without into onto over under up down out off about after before during while until through between against is are "
    "was were be been being am do does did done has have had having can could will would shall should may might must i you he she "
    "it we they me him her us them my your his its our their mine yours there here who whom whose which what when where why how "
    "very too also just only again once more most much many such own same other another one"
)
GENERIC = _words(
    "video videos clip clips footage movie film recording scene scenes image images picture pictures photo frame frames content "
    "view shot thing things something anything stuff someone somebody anyone everybody person people place somewhere time times "
    "show shows showing shown see seen seeing look looks looking watch watching contain contains depict depicts happen happens "
    "happening go goes going get gets make makes doing appear appears various different several nice good great cool awesome "
    "interesting amazing beautiful best new funny random untitled unknown test sample title description"
)
BOILERPLATE = re.compile(
    r"https?://\S+|www\.\S+|\S+@\S+\.\S+|[#@]\w+"  # addresses, tags, handles
    r"|\b\S+\.(?:mp4|mov|avi|mkv|webm|mpe?g|gif|wmv|flv|m4v|3gp|jpe?g|png)\b"  # file names
    r"|\b(?:img|dsc|dscn|mvi|vid|mov|gopr|gh|pxl|dji|screenrecording|whatsapp|clip|video|untitled)[ _-]*\d[\w-]*"  # camera names
    r"|\b\w*(?:[a-z]\d|\d[a-z]|_)\w*(?:[a-z]\d|\d[a-z]|_)\w*(?:[a-z]\d|\d[a-z]|_)\w*\b"  # a hash, an id, words_joined_by_bars
    r"|\b(?:1080|720|480|2160)p\b|\b4k\b|\buhd\b|\b(?:60|30|25|24) ?fps\b|\b\d{4}[-_.]?\d{2}[-_.]?\d{2}\b"  # formats, dates
    r"|\b(?:please )?(?:like and )?subscribe\b(?: to \w+ channel)?|\bclick (?:here|the link)\b"
    r"|\blink in (?:the )?(?:bio|description)\b"
    r"|\ball rights reserved\b|\bcopyright\b|©|\bofficial (?:video|trailer)\b|\bfull (?:hd|movie|episode)\b"
    r"|\b(?:part|episode) \d+\b",
    re.IGNORECASE,
)


def measure_text(pair: Mapping[str, Any], own: FiltersConfig) -> list[Row]:
    """The text filters of a pair row; none where neither side has text, and the worse score where both have."""
    found = {side: text_scores(pair[side]["text"]) for side in ("query", "target") if "text" in pair[side]["modalities"]}
    rows = []
    for name in text_scores("") if found else ():
        worse = min if FILTERS[name].drops == "below" else max
        side = worse(found, key=lambda s, n=name: found[s][n])  # type: ignore[misc]
        detail = side if len(found) > 1 else ""
        clip_id = pair["target"]["clip_id"] or pair["query"]["clip_id"]
        rows.append(judge(name, found[side][name], own, clip_id=clip_id, pair_id=pair["pair_id"], detail=detail))
    return rows


def text_scores(text: str) -> dict[str, float]:
    """Every text filter's score of one text; a text without words scores 0 words, variety 0, and 1 of all that is bad."""
    words = [word.lower() for word in WORD.findall(text)]
    if not words:
        return {"text_words": 0.0, "text_variety": 0.0, "text_function": 1.0, "text_boilerplate": 1.0, "text_generic": 1.0}
    head = words[:VARIETY_WORDS]
    content = [word for word in words if word not in FUNCTION]
    left = WORD.findall(BOILERPLATE.sub(" ", text))
    return {
        "text_words": float(len(words)),
        "text_variety": len(set(head)) / len(head),
        "text_function": 1.0 - len(content) / len(words),
        "text_boilerplate": 1.0 - len(left) / len(words),
        "text_generic": sum(word in GENERIC for word in content) / len(content) if content else 1.0,
    }
