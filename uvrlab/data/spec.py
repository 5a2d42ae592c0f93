"""What collation needs to know about a backbone: token names, media rules, position rules. Only the record types, no torch.

The values stand in one literal table, `uvrlab.models.backbones`; this module sits lower so that `data` needs nothing from `models`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Family = Literal["qwen2-vl", "qwen2.5-vl", "qwen2.5-omni", "qwen3-omni"]

DISC_TOKEN, GEN_TOKEN = "<disc_emb>", "<gen_emb>"
TAGS = ("think", "answer", "time", "caption", "thinking")
# Every control token of the later stages, each one token from the first day: no later stage changes the vocabulary.
CONTROL_TOKENS = (DISC_TOKEN, GEN_TOKEN, *(f"<{slash}{tag}>" for tag in TAGS for slash in ("", "/")))

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)

SYSTEM = "You are a helpful assistant."
# UME-R1's fixed instruction behind <disc_emb>; its literal <gen_emb> is never a read-out, see `Batch.gen_positions`.
EMBED_INSTRUCTION = (
    "Represent the above input text, images, videos, or any combination of the three as embeddings. First output the thinking "
    "process in <think> </think> tags and then summarize the entire input in a word or sentence. Finally, use the <gen_emb> tag "
    "to represent the entire input."
)


@dataclass(frozen=True)
class Tokens:
    """Names of the special tokens of a family; `None` where the family has none."""

    vision_start: str
    vision_end: str
    image: str
    video: str
    audio_start: str | None = None
    audio_end: str | None = None
    audio: str | None = None
    pad: str = "<|endoftext|>"
    end_of_text: str = "<|endoftext|>"
    turn_start: str = "<|im_start|>"
    turn_end: str = "<|im_end|>"

    def media(self) -> tuple[str, ...]:
        """Every token that a user's text or a sampled completion must never hold."""
        names = (self.vision_start, self.vision_end, self.image, self.video, self.audio_start, self.audio_end, self.audio)
        return tuple(name for name in names if name)


@dataclass(frozen=True)
class Backbone:
    """One backbone: classes, tokens, template, media rules, position rule, adapter targets and published shapes."""

    name: str
    family: Family
    model_class: str  # attribute of `transformers`
    config_class: str
    processor_class: str
    tokens: Tokens
    readout_from: tuple[str, str]  # tokens whose rows initialise <disc_emb> and <gen_emb>
    shapes: dict[str, Any]  # {"text": {...}, "vision": {...}, "audio": {...} | None, "top": {...}}
    hidden_size: int
    default_system: str | None = SYSTEM
    instruction: str = EMBED_INSTRUCTION
    lora_targets: str = r".*language_model.*\.(q_proj|k_proj|v_proj|up_proj|gate_proj|down_proj)"
    frozen: tuple[str, ...] = ("visual", "audio_tower", "embed_tokens")
    interleave: Literal["chunks", "merge"] | None = None  # sound inside video: 2 s chunks, or a fine merge by time
    positions_per_s: float | None = None  # of the time axis; None: a grid is one position
    seconds_per_chunk: float | None = None
    fps: float = 2.0  # sampling rate that the family was trained with
    max_seconds: float = 8.0  # beyond it interleaved position ids jump back
    patch: int = 14
    merge: int = 2
    temporal_patch: int = 2
    min_pixels: int = 3136
    max_pixels: int = 12845056
    video_min_pixels: int = 128 * 28 * 28  # class default of the processors: it overrides the preprocessor file
    video_max_pixels: int = 768 * 28 * 28
    image_mean: tuple[float, float, float] = CLIP_MEAN
    image_std: tuple[float, float, float] = CLIP_STD
    sampling_rate_hz: int = 16000
    mel_bins: int | None = None
    mel_chunk_s: int = 300
    mel_tail: Literal["zeros", "reflect"] = "zeros"  # what the last frame sees beyond the end of the sound
    extra_tokens: tuple[str, ...] = field(default=())  # further special tokens of the published tokenizer, for tiny copies

    @property
    def hears(self) -> bool:
        """Whether the backbone has an audio tower."""
        return self.tokens.audio is not None
