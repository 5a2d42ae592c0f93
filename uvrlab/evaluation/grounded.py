"""What grounded responses are measured by: spans against true spans, and captions that name a sound that is not there.

True spans are read here and nowhere in training. Times are seconds on the clip's own clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from uvrlab.data.questions import Span
from uvrlab.data.world import Scene, mentions, segment
from uvrlab.rewards.grounding import GroundedResponse, ResponseFault, parse_response

MIN_SPAN_S = 0.2  # a shorter stretch of a sound cannot be named


def parsed(text: str, duration_s: float) -> GroundedResponse | None:
    """The response under the strict rules, None where it breaks one."""
    try:
        return parse_response(text, duration_s)
    except ResponseFault:
        return None


def span_iou(predicted: Sequence[Span], true: Sequence[Span]) -> float:
    """Seconds in both unions of spans over seconds in either; 0 without a prediction. ValueError without a true span."""
    if not any(end > start for start, end in true):
        raise ValueError(f"found true spans {list(true)}; expected at least one longer than 0")
    edges = sorted({edge for span in (*predicted, *true) for edge in span})
    both = either = 0.0
    for start, end in itertools.pairwise(edges):
        inside = [any(a <= start and end <= b for a, b in spans) for spans in (predicted, true)]
        both += (end - start) * all(inside)
        either += (end - start) * any(inside)
    return both / either


def span_recall(predicted: Sequence[Span], true: Sequence[Span], threshold: float) -> float:
    """Share of true spans that some predicted span meets with an IoU of at least `threshold`."""
    return sum(any(span_iou([p], [t]) >= threshold for p in predicted) for t in true) / len(true)


def invents_sound(response: GroundedResponse, scene: Scene) -> bool:
    """Whether a caption names a sound that cannot be heard in its span."""
    for (start, end), caption in zip(response.spans, response.captions, strict=True):
        said = mentions(caption).sounds
        end = min(end, scene.duration_s)
        heard = {sound.kind for sound in segment(scene, start, end).sounds} if said and end - start >= MIN_SPAN_S else set()
        if set(said) - heard:
            return True
    return False
