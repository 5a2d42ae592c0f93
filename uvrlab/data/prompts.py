"""Text to token ids: encoding that cannot be injected, and the order in which picture and sound tokens of one clip stand.

Text from outside is encoded so that a literal `<gen_emb>` or `<|VIDEO|>` in it stays plain text: a caption can neither forge a
read-out nor unbalance media placeholders. The layouts are those of the published processors, proven equal by tests.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from typing import Any

from uvrlab.data.spec import Backbone


def token_id(tokenizer: Any, name: str) -> int:
    """The id of one token by name; a name that the tokenizer lacks is an error."""
    found = tokenizer.get_vocab().get(name)
    if found is None:
        raise ValueError(f"the tokenizer has no token {name!r}; expected the backbone's own with the read-outs added")
    return int(found)


class TextEncoder:
    """Encodes text for one tokenizer. Ids are looked up by name once; short strings are remembered."""

    def __init__(self, tokenizer: Any, spec: Backbone) -> None:
        self.core = tokenizer.backend_tokenizer
        self.vocabulary: dict[str, int] = tokenizer.get_vocab()
        added = {token.content for token in tokenizer.added_tokens_decoder.values()}
        tokens = spec.tokens
        self.turn_end = tokens.turn_end
        self._any = _pattern(added)
        # What a written response must not hold: media, turns and padding. Control tokens are its own.
        self._foreign = _pattern({*tokens.media(), tokens.pad, tokens.end_of_text, tokens.turn_start, tokens.turn_end} & added)
        self._seen: dict[str, list[int]] = {}

    def id(self, name: str) -> int:
        """The id of one token by name."""
        if name not in self.vocabulary:
            raise ValueError(f"the tokenizer has no token {name!r}; expected the backbone's own tokenizer with the read-outs added")
        return self.vocabulary[name]

    def raw(self, text: str) -> list[int]:
        """Ids of trusted text: literal special tokens in it count as such."""
        if text not in self._seen:
            if len(self._seen) > 4096:
                self._seen.clear()
            self._seen[text] = self.core.encode(text, add_special_tokens=False).ids
        return self._seen[text]

    def plain(self, text: str) -> list[int]:
        """Ids of text from outside: no special token can come out, and decoding returns `text`."""
        return [i for part in _cut(self._any, text) for i in self.raw(part)]

    def response(self, text: str) -> list[int]:
        """Ids of a written response: control tokens count, media and turn tokens stay plain text."""
        return [i for part in _cut(self._foreign, text) for i in self.raw(part)]

    def truncate(self, text: str, limit: int) -> tuple[str, bool]:
        """The longest head of `text` with at most `limit` plain tokens, and whether anything was cut off."""
        if len(text.encode()) <= limit:
            return text, False
        encoding = self.core.encode(text, add_special_tokens=False)
        if len(encoding.ids) <= limit:
            return text, False
        return text[: encoding.offsets[limit - 1][1]], True


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    ordered = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered)) if ordered else r"(?!)")


def _cut(pattern: re.Pattern[str], text: str) -> list[str]:
    """`text` cut behind the first character of every match: "a <gen_emb>" -> ["a <", "gen_emb>"]."""
    if not pattern.search(text):
        return [text] if text else []
    cuts = [0, *(match.start() + 1 for match in pattern.finditer(text)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(cuts) if a < b]


def audio_tokens(spec: Backbone, mel_frames: int, window: int) -> int:
    """Tokens of a sound of `mel_frames` (10 ms each) after the audio tower; `window` is the tower's `n_window`."""
    if spec.interleave == "merge":  # Qwen3-Omni: 13 tokens for each chunk of 2 * window frames
        chunks, rest = divmod(mel_frames, 2 * window)
        return ((((rest - 1) // 2 + 1) - 1) // 2 + 1 - 1) // 2 + 1 + chunks * 13
    return ((mel_frames - 1) // 2 + 1 - 2) // 2 + 1


def interleave(spec: Backbone, grid: tuple[int, int, int], seconds_per_grid: float, n_audio: int) -> list[bool]:
    """Order of one clip's tokens, True for picture and False for sound, as the family's processor lays them out."""
    if spec.positions_per_s is None or spec.seconds_per_chunk is None:
        raise ValueError(f"{spec.name} cannot interleave sound and picture; leave the audio modality out")
    per_grid = (grid[1] // spec.merge) * (grid[2] // spec.merge)
    times = [t * seconds_per_grid * spec.positions_per_s for t in range(grid[0]) for _ in range(per_grid)]
    if spec.interleave == "merge":
        return _merge(times, n_audio)
    if seconds_per_grid > spec.seconds_per_chunk:
        raise ValueError(
            f"one grid spans {seconds_per_grid:.2f} s, more than a chunk of {spec.seconds_per_chunk} s: chunks would split grids; "
            "sample at least 1 frame a second or cut the clip"
        )
    size = int(spec.positions_per_s * spec.seconds_per_chunk)
    pictures, sounds = _chunks(times, size), _chunks(range(n_audio), size)
    order: list[bool] = []
    for j in range(max(len(pictures), len(sounds))):
        order += [True] * (pictures[j] if j < len(pictures) else 0) + [False] * (sounds[j] if j < len(sounds) else 0)
    return order


def _chunks(times: Iterable[float], size: int) -> list[int]:
    """Lengths of the runs of `times` below size, 2 * size, ...; the last run may be empty, as upstream's is."""
    lengths, current = [0], 1
    for time in times:
        if time >= current * size:
            lengths.append(0)
            current += 1
        lengths[-1] += 1
    return lengths


def _merge(times: list[float], n_audio: int) -> list[bool]:
    order, v, a = [], 0, 0
    while v < len(times) and a < n_audio:
        picture = times[v] <= a
        order.append(picture)
        v, a = v + picture, a + (not picture)
    return order + [True] * (len(times) - v) + [False] * (n_audio - a)
