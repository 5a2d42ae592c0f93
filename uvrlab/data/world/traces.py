"""Thoughts and grounded answers: what an annotator, or a well-behaved model, would write about a clip, a text or a question.

`trace` is the think/answer pair of UME-R1 (arXiv 2511.00405), `grounded_response` the time/caption/thinking/answer form of
OmniVideo-R1 (arXiv 2602.05847). Errors and jitter are those of a hurried annotator, stated and flagged: the case that
reinforcement learning is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from uvrlab.data.world import tables, words
from uvrlab.data.world.questions import Question, Span
from uvrlab.data.world.scene import Object, Scene, Sound, overlap_s
from uvrlab.data.world.words import count_words

THINK_RANGE = (15, 45)
MIN_SPAN_S = 0.2


def trace(
    scene: Scene, rng: np.random.Generator, *, caption: str | None = None, error_rate: float = 0.0
) -> tuple[str, str, list[str]]:
    """(think, answer, flags) for a clip.

    `think` (15-45 words) walks objects, events in order, camera, sounds. `answer` is one short sentence: `caption` if it is
    given, else our own. Each attribute is wrong with probability `error_rate`, in thought and answer alike; `flags` holds one
    "wrong:colour" (or shape, motion, order, camera, sound) an error.
    """
    _check_rate(error_rate)
    seen, flags = _misperceive(scene, rng, error_rate)
    think = _bounded(_thought(seen))
    return think, caption or _summary(seen), flags


def text_trace(caption: str, scene: Scene, rng: np.random.Generator, *, error_rate: float = 0.0) -> tuple[str, str, list[str]]:
    """(think, answer, flags) for a text, in the form of a clip's: only what the text itself says, never what else `scene` holds.

    `scene` gives nothing but the split, whose combinations a wrong motion must not leave.
    """
    _check_rate(error_rate)
    said = words.mentions(caption)
    flags: list[str] = []
    events: list[tuple[str | None, str]] = []
    for name, motion in said.events:
        if rng.random() < error_rate:
            motion = _other_motion(scene, name, motion, rng)
            flags.append("wrong:motion")
        events.append((name, motion))
    sounds = [_maybe_other(s, tables.SOUNDS, "sound", error_rate, rng, flags) for s in said.sounds]
    cameras = [_maybe_other(c, tables.CAMERAS, "camera", error_rate, rng, flags) for c in said.cameras]
    acts = [_act(name, motion) for name, motion in events if motion != "still"]
    resting = [_act(name, motion) for name, motion in events if motion == "still"]
    views = [words.CAMERA_WORDS[c][0].removeprefix("the ") for c in cameras]
    parts = [", ".join(said.objects) if said.objects else "no single object"]
    parts += [f"{'first' if i == 0 else 'then'} {act}" for i, act in enumerate([*acts, *said.gists])]
    parts += [*views, *([f"sound: {', '.join(sounds)}"] if sounds else []), *resting]
    parts += [f"{setting} background"] if (setting := words.setting(caption)) else []
    gist = [*acts[:3], *said.gists[:3], *views[:1], *sounds[:2]] or list(said.objects)[:4] or [" ".join(caption.split()[:12])]
    return _bounded(parts), words.sentence(", ".join(gist).rstrip(".,;:")), flags


def _act(name: str | None, motion: str) -> str:
    return f"{name or 'something'} {words.MOTION_WORDS[motion][0]}"


def _check_rate(error_rate: float) -> None:
    if not 0.0 <= error_rate <= 1.0:
        raise ValueError(f"found error_rate {error_rate:g}; expected a share between 0 and 1")


def _bounded(parts: Sequence[str]) -> str:
    """Parts as sentences, at most 45 words: parts that no longer fit are left out. At least 15, by a closing remark."""
    low, high = THINK_RANGE
    text = ""
    for part in parts:
        if count_words(text) + count_words(part) <= high:
            text += (" " if text else "") + words.sentence(part)
    if count_words(text) < low:
        text += " There is nothing more to be noticed here than what has just been said."
    return text


def _thought(scene: Scene) -> list[str]:
    parts = [", ".join(o.name for o in scene.objects)]
    moments = [m for m in words.timeline(scene) if m.event is not None][:6]
    for number, moment in enumerate(moments):
        assert moment.event is not None
        lead = "first" if number == 0 else "then"
        parts.append(f"{lead} {scene.objects[moment.event.object].name} {words.MOTION_WORDS[moment.event.motion][0]}")
    parts.append(words.CAMERA_WORDS[scene.camera.kind][0].removeprefix("the "))
    kinds = list(dict.fromkeys(s.kind for s in scene.sounds))
    parts.append(f"sound: {', '.join(kinds)}" if kinds else "no sound")
    parts += [
        f"{sound.kind} with {scene.objects[moment.event.object].name}"
        for moment in moments
        for sound in moment.sounds
        if moment.event is not None
    ]
    parts.append(f"{words.background_words(scene)} background")
    return parts


def _summary(scene: Scene) -> str:
    """One sentence of at most about 22 words: up to three events with their sounds, then the camera if it moves."""
    parts = []
    for moment in [m for m in words.timeline(scene) if m.event is not None][:3]:
        assert moment.event is not None
        heard = f" with {moment.sounds[0].kind}" if moment.sounds else ""
        parts.append(f"{scene.objects[moment.event.object].name} {words.MOTION_WORDS[moment.event.motion][0]}{heard}")
    if scene.camera.kind != "still":
        parts.append(words.CAMERA_WORDS[scene.camera.kind][0].removeprefix("the "))
    return words.sentence(", ".join(parts or [o.name for o in scene.objects]))


def _maybe_other(value: str, pool: Sequence[str], aspect: str, rate: float, rng: np.random.Generator, flags: list[str]) -> str:
    if rng.random() >= rate:
        return value
    flags.append(f"wrong:{aspect}")
    return words.pick([p for p in pool if p != value], rng)


def _other_motion(scene: Scene, name: str | None, motion: str, rng: np.random.Generator) -> str:
    """A wrong motion: one that the split allows to these looks where there is one, so that errors do not leak combinations."""
    pool = tables.motions_for(scene.split, *name.split()) if name else tables.MOVES
    others = [m for m in pool if m not in (motion, "still")] or [m for m in tables.MOVES if m != motion]
    return words.pick(others, rng)


def _misperceive(scene: Scene, rng: np.random.Generator, rate: float) -> tuple[Scene, list[str]]:
    """The scene as a careless viewer takes it, and what is wrong with it."""
    flags: list[str] = []
    objects = tuple(
        Object(
            _maybe_other(o.colour, tuple(tables.COLOURS), "colour", rate, rng, flags),
            _maybe_other(o.shape, tables.SHAPES, "shape", rate, rng, flags),
            o.size,
            o.place,
            o.still,
        )
        for o in scene.objects
    )
    events = list(scene.events)
    for i, event in enumerate(events):
        if rng.random() < rate:
            events[i] = replace(event, motion=_other_motion(scene, scene.objects[event.object].name, event.motion, rng))
            flags.append("wrong:motion")
    if len(events) > 1 and rng.random() < rate:
        a, b = events[0], events[1]
        if (a.object, a.motion) != (b.object, b.motion):
            events[:2] = [replace(a, object=b.object, motion=b.motion), replace(b, object=a.object, motion=a.motion)]
            flags.append("wrong:order")
    sounds = tuple(replace(s, kind=_maybe_other(s.kind, tables.SOUNDS, "sound", rate, rng, flags)) for s in scene.sounds)
    camera = replace(scene.camera, kind=_maybe_other(scene.camera.kind, tables.CAMERAS, "camera", rate, rng, flags))
    return replace(scene, objects=objects, events=tuple(events), sounds=sounds, camera=camera), flags


def grounded_response(scene: Scene, question: Question, rng: np.random.Generator, *, jitter_s: float = 0.0) -> str:
    """One to three `<time>S-E</time><caption>..</caption>` pairs, then `<thinking>` and `<answer>`: valid under the strict rules.

    The spans are the question's true ones, ordered, disjoint, inside the clip, one decimal. With `jitter_s` each end moves by a
    normal error of that size, as a sloppy annotator's would. ValueError if the question is about another clip or has no span.
    """
    found = f"{question.clip_id} with {len(question.true_spans)} spans"
    if question.clip_id != scene.clip_id or not question.true_spans:
        raise ValueError(f"question {question.question_id} is about {found}; expected {scene.clip_id} and a span")
    spans = _jittered(question.true_spans[:3], scene.duration_s, jitter_s, rng)
    described = [_span_caption(scene, true, question) for true in question.true_spans[:3]]
    pairs = [f"<time>{a:.1f}-{b:.1f}</time><caption>{text}</caption>" for (a, b), text in zip(spans, described, strict=True)]
    reasons = [
        f"from {a:.1f} to {b:.1f} {text[0].lower()}{text[1:].rstrip('.')}" for (a, b), text in zip(spans, described, strict=True)
    ]
    close = words.pick(("so the answer is", "that makes it", "this points to"), rng)
    thinking = words.sentence(f"{'; '.join(reasons)}; {close} {question.answer_text}")
    return f"{''.join(pairs)}<thinking>{thinking}</thinking><answer>{question.answer}</answer>"


def _span_caption(scene: Scene, span: Span, question: Question) -> str:
    """What is seen and heard in a span, in one sentence: places, looks or the view where the question is about them."""
    things = [words.with_article(o.name) for o in scene.objects]
    if question.kind == "place":
        placed = [f"{thing} in the {words.place_words(o.place)}" for thing, o in zip(things, scene.objects, strict=True)]
        return words.sentence(", ".join(placed))
    if question.kind == "camera":
        return words.sentence(words.CAMERA_WORDS[scene.camera.kind][0])
    window = Sound("window", *span)
    parts = []
    for moment in words.timeline(scene):
        if moment.event is not None and overlap_s(moment.event, window) >= MIN_SPAN_S - 1e-9:
            parts.append(f"the {scene.objects[moment.event.object].name} {words.MOTION_WORDS[moment.event.motion][0]}")
        heard = [s.kind for s in moment.sounds if overlap_s(s, window) >= MIN_SPAN_S - 1e-9]
        parts += [f"{words.SOUND_WORDS[kind][0]} {'are' if kind == 'clicks' else 'is'} heard" for kind in heard]
    if question.kind in ("colour", "background") or not parts:
        return words.sentence(f"{words.list_words(things)} on {words.with_article(words.background_words(scene))} background")
    return words.sentence(", ".join(parts[:4]))


def _jittered(spans: Sequence[Span], duration_s: float, jitter_s: float, rng: np.random.Generator) -> list[Span]:
    """Tenths of a second, moved, then made valid again from left to right."""
    last = int(np.floor(duration_s * 10 + 1e-6))
    least = round(MIN_SPAN_S * 10)
    moved: list[tuple[int, int]] = []
    for i, (start, end) in enumerate(spans):
        room = last - least * (len(spans) - 1 - i)  # leave the later spans their least length
        low = moved[-1][1] if moved else 0
        a = round((start + rng.normal(0.0, jitter_s)) * 10) if jitter_s > 0 else round(start * 10)
        b = round((end + rng.normal(0.0, jitter_s)) * 10) if jitter_s > 0 else round(end * 10)
        a = min(max(a, low), room - least)
        moved.append((a, min(max(b, a + least), room)))
    return [(a / 10, b / 10) for a, b in moved]
