"""The towers and the language model as two calls: media to features, then ids and features to hidden states.

Features of frozen towers are computed once a clip and reused over steps, epochs and stages. The sum of both calls equals the plain
`model(**processor_output)` for every family, deepstack included (tested to 1e-5). Gradient flows through both.
"""

from __future__ import annotations

from typing import Any

from uvrlab.data.batch import IGNORED, Batch, Features, Media
from uvrlab.models.attention import additive, compute_dtype


def core_of(model: Any) -> Any:
    """The module with `visual`, `audio_tower` and `language_model`, below the head and any adapter."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.model


def media_features(model: Any, media: Media) -> Features:
    """Run the towers on a batch's media. Wrap in `torch.no_grad()` where they are frozen."""
    core = core_of(model)
    return Features(
        image=_visual(core, media.image_patches, media.image_grid),
        video=_visual(core, media.video_patches, media.video_grid),
        audio=_audio(core, media.mels, media.mel_lengths),
    )


def _visual(core: Any, patches: Any, grid: Any) -> tuple[Any, ...]:
    import torch

    if patches is None:
        return ()
    tower = core.visual
    out = tower(patches.type(tower.dtype), grid_thw=grid, return_dict=True)
    levels = [out.pooler_output, *(getattr(out, "deepstack_features", None) or [])]
    sizes = (grid.prod(-1) // tower.spatial_merge_size**2).tolist()
    return torch.split(torch.cat(levels, dim=-1), sizes)


def _audio(core: Any, mels: Any, lengths: Any) -> tuple[Any, ...]:
    """Sounds shorter than a chunk go alone: Qwen3-Omni pads chunks to the longest of the call, which leaks into their end."""
    import torch

    if mels is None:
        return ()
    tower = core.audio_tower
    chunk = 2 * tower.n_window
    out: list[Any] = [None] * len(lengths)
    sounds = torch.split(mels, lengths.tolist(), dim=1)
    full = [i for i, sound in enumerate(sounds) if sound.shape[1] >= chunk]
    short = [[i] for i, sound in enumerate(sounds) if sound.shape[1] < chunk]
    for group in ([full] if full else []) + short:
        own = lengths[torch.tensor(group)]
        extra = {"aftercnn_lens": None} if hasattr(tower, "avg_pooler") else {}
        states = tower(torch.cat([sounds[i] for i in group], dim=1), feature_lens=own, **extra).last_hidden_state
        counts = [_audio_tokens(tower, int(n)) for n in own]
        for i, part in zip(group, torch.split(states, counts), strict=True):
            out[i] = part
    return tuple(out)


def _audio_tokens(tower: Any, mel: int) -> int:
    if hasattr(tower, "avg_pooler"):  # Qwen2.5-Omni
        return ((mel - 1) // 2 + 1 - 2) // 2 + 1
    chunks, rest = divmod(mel, 2 * tower.n_window)
    return ((((rest - 1) // 2 + 1) - 1) // 2 + 1 - 1) // 2 + 1 + chunks * 13


def forward(model: Any, batch: Batch, features: Features | None = None, mask: Any = None) -> Any:
    """Last hidden states (B, L, width) of a batch; without `features` the towers run on the batch's media.

    `mask` (B, 1, L, L) bool replaces the causal mask, True where a row may look at a column.
    """
    embeds, extra = _inputs(core_of(model), model, batch, features)
    # Behind right padding nothing can look at it, so no mask is needed and attention takes its fast causal path.
    if mask is None:
        mask = None if batch.padding_side == "right" else batch.attention_mask
    else:
        mask = additive(mask, compute_dtype(embeds))
    out = core_of(model).language_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=batch.position_ids, use_cache=False, return_dict=True, **extra
    )
    return out.last_hidden_state


def prefill(model: Any, batch: Batch, features: Features | None = None) -> tuple[Any, Any]:
    """As `forward`, also returning the key-value cache that `step` goes on from."""
    from transformers import DynamicCache

    embeds, extra = _inputs(core_of(model), model, batch, features)
    out = core_of(model).language_model(
        inputs_embeds=embeds,
        attention_mask=batch.attention_mask,
        position_ids=batch.position_ids,
        past_key_values=DynamicCache(),
        use_cache=True,
        return_dict=True,
        **extra,
    )
    return out.last_hidden_state, out.past_key_values


def step(model: Any, token: Any, mask: Any, position: Any, cache: Any) -> Any:
    """Hidden state (B, width) of one more token (B,) a row; `mask` (B, past + 1), `position` (3, B, 1); extends `cache`."""
    core = core_of(model)
    out = core.language_model(
        inputs_embeds=core.get_input_embeddings()(token[:, None]),
        attention_mask=mask,
        position_ids=position,
        past_key_values=cache,
        use_cache=True,
        return_dict=True,
    )
    return out.last_hidden_state[:, -1]


def head(model: Any, states: Any) -> Any:
    """Logits (..., vocabulary) of hidden states (..., width)."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.lm_head(states)


def _inputs(core: Any, model: Any, batch: Batch, features: Features | None) -> tuple[Any, dict[str, Any]]:
    """Input embeddings (B, L, width) with the media scattered in, and what deepstack backbones need beside them."""
    features = features or batch.features or media_features(model, batch.media)
    embeds = core.get_input_embeddings()(batch.input_ids)
    config, width = core.config, embeds.shape[-1]
    picture = []
    for kind in ("image", "video", "audio"):
        parts = getattr(features, kind)
        name = f"{kind}_token_id"
        if not parts and not hasattr(config, name):
            continue
        embeds, where, deep = _scatter(embeds, batch.input_ids == getattr(config, name), parts, width, kind)
        if deep is not None:
            picture.append((where, deep))
    return embeds, _deepstack(batch.input_ids, picture, width) if picture else {}


def _scatter(embeds: Any, mask: Any, parts: tuple[Any, ...], width: int, kind: str) -> tuple[Any, Any, Any]:
    """Put features where the placeholders stand, after counting both."""
    import torch

    where = mask.flatten().nonzero().squeeze(-1)
    found = sum(len(part) for part in parts)
    if len(where) != found:
        raise ValueError(
            f"{len(where)} {kind} placeholders but {found} {kind} features; ids and media of this batch do not belong together"
        )
    if not parts:
        return embeds, where, None
    values = torch.cat(parts).to(embeds.dtype)
    flat = embeds.reshape(-1, width).index_copy(0, where, values[:, :width])
    return flat.view_as(embeds), where, values[:, width:] if values.shape[1] > width else None


def _deepstack(input_ids: Any, picture: list[tuple[Any, Any]], width: int) -> dict[str, Any]:
    """Keyword arguments that add the deeper visual levels to the first layers, as Qwen3-Omni does."""
    import torch

    where = torch.cat([index for index, _ in picture])
    order = torch.argsort(where)
    deep = torch.cat([levels for _, levels in picture])[order]
    mask = torch.zeros(input_ids.numel(), dtype=torch.bool, device=input_ids.device)
    mask[where] = True
    return {"visual_pos_masks": mask.view_as(input_ids), "deepstack_visual_embeds": list(torch.split(deep, width, dim=1))}


def next_token_loss(model: Any, hidden: Any, labels: Any) -> tuple[Any, int]:
    """(summed cross-entropy, number of labelled tokens); the head runs on labelled positions only."""
    import torch.nn.functional as F

    target = labels[:, 1:]
    keep = target != IGNORED
    logits = head(model, hidden[:, :-1][keep])
    return F.cross_entropy(logits.float(), target[keep], reduction="sum"), int(keep.sum())
