"""Byte-level BPE tokenizers that we train: for the nano backbone and for tiny copies. Any UTF-8 text round-trips."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from uvrlab.data.spec import CONTROL_TOKENS, Backbone

# Qwen2's pre-tokenizer, so that word boundaries fall where they do in the real backbones.
QWEN_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_NAMES = {
    "image_token": "image",
    "video_token": "video",
    "audio_token": "audio",
    "vision_bos_token": "vision_start",
    "vision_eos_token": "vision_end",
    "audio_bos_token": "audio_start",
    "audio_eos_token": "audio_end",
}


def train_tokenizer(texts: Iterable[str], vocab_size: int, spec: Backbone) -> Any:
    """A byte-level BPE of at most `vocab_size` entries, with the backbone's special tokens and every control token.

    The 256 bytes come first, so any UTF-8 text round-trips. Special tokens are `special` (dropped by `skip_special_tokens`);
    control tokens are not, because rewards read them in decoded completions. Deterministic for equal texts.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    special = [spec.tokens.end_of_text, spec.tokens.turn_start, spec.tokens.turn_end, *spec.tokens.media(), *spec.extra_tokens]
    special = list(dict.fromkeys(special))
    reserved = len(special) + len(CONTROL_TOKENS)
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC() if spec.default_system else None  # upstream normalises; ours returns every byte
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - reserved, initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator(texts, trainer)
    core.add_special_tokens(special)
    core.add_tokens([AddedToken(name, special=False, normalized=False) for name in CONTROL_TOKENS])
    return wrap_tokenizer(core, spec)


def wrap_tokenizer(core: Any, spec: Backbone) -> Any:
    """A transformers tokenizer around a `tokenizers.Tokenizer`, with the attributes that the processors read."""
    from transformers import PreTrainedTokenizerFast

    extra = {key: name for key, part in _NAMES.items() if (name := getattr(spec.tokens, part))}
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=spec.tokens.pad,
        eos_token=spec.tokens.turn_end,
        extra_special_tokens=extra,
        model_max_length=spec.shapes["text"]["max_position_embeddings"],
        clean_up_tokenization_spaces=False,
    )
