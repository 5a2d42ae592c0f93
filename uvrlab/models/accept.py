"""`uvr accept --backbone PATH`: what a user who has the weights runs before training on them.

Each check compares our path with the checkpoint's own classes on small inputs: token names, prompt layout, position ids, hidden
states, padding, and one step a training stage. A check that fails says what differs; none is skipped silently.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab import runs
from uvrlab.data.batch import Batch
from uvrlab.data.collate import Collator
from uvrlab.data.items import DecodedItem
from uvrlab.data.spec import DISC_TOKEN, GEN_TOKEN
from uvrlab.models import towers
from uvrlab.models.device import torch_device
from uvrlab.models.golden import golden_items
from uvrlab.models.modeldir import LoadedBackbone, install_readouts, load_backbone
from uvrlab.models.preprocess import default_preprocess

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}  # of hidden states, largest difference


# (backbone, collator, ids of the read-out tokens that it lacked, device) -> what was found; raises where the step is not sound.
StageStep = Callable[[LoadedBackbone, Collator, list[int], str], str]


def accept(path: str | Path, *, device: str = "cpu", stages: Mapping[str, StageStep] | None = None) -> dict[str, Any]:
    """Run every check on the backbone at `path`, then one step of each training stage in `stages`.

    Returns {"accepted", "backbone", "digest", "parameters", "read_out_tokens_added", "checks", "seconds", "peak_memory_bytes"}; a
    check is {"check", "ok", "found", "seconds", "peak_memory_bytes"}. On a GPU memory is the GPU's.
    """
    started, device = time.monotonic(), torch_device(device)
    loaded = load_backbone(path, device=device)
    added = install_readouts(loaded)
    preprocess = default_preprocess(loaded.spec)
    collate = preprocess.collator(loaded.spec, loaded.tokenizer, loaded.model.config)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("token names", lambda: _tokens(loaded)),
        ("prompt layout", lambda: _layout(loaded, collate)),
        ("hidden states", lambda: _hidden(loaded, collate, device)),
        ("padding and neighbours", lambda: _padding(loaded, collate, device)),
    ]
    for name, step in (stages or {}).items():
        checks.append((f"a step of {name}", partial(step, loaded, collate, added, device)))
    load_peak = _peak_memory_bytes(device)
    results = [_run(name, check, device) for name, check in checks]
    return {
        "accepted": all(result["ok"] for result in results),
        "backbone": loaded.spec.name,
        "digest": loaded.digest,
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "read_out_tokens_added": len(added),
        "checks": results,
        "seconds": round(time.monotonic() - started, 2),
        "peak_memory_bytes": max(load_peak, *(result["peak_memory_bytes"] for result in results)),
    }


def _run(name: str, check: Callable[[], str], device: str) -> dict[str, Any]:
    started = time.monotonic()
    _reset_peak(device)
    try:
        ok, found = True, check()
    except Exception as error:  # a failed check is a finding, and the others still run
        ok, found = False, f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - started, 2)
    return {"check": name, "ok": ok, "found": found, "seconds": seconds, "peak_memory_bytes": _peak_memory_bytes(device)}


def _reset_peak(device: str) -> None:
    """Let the peak of memory count from here; where the system does not allow it, the peak is that of the whole process."""
    import torch

    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory_bytes(device: str) -> int:
    import torch

    return runs.peak_memory_bytes() if device == "cpu" else torch.cuda.max_memory_allocated(device)


def _tokens(loaded: LoadedBackbone) -> str:
    """Every name is one token, and the configuration holds the same ids."""
    tokens, config = loaded.spec.tokens, loaded.model.config
    vocabulary = loaded.tokenizer.get_vocab()
    wanted = [*tokens.media(), tokens.pad, tokens.turn_start, tokens.turn_end, DISC_TOKEN, GEN_TOKEN]
    if missing := [name for name in wanted if name not in vocabulary]:
        raise ValueError(f"the tokenizer lacks {missing}")
    for field, name in (("image", tokens.image), ("video", tokens.video), ("audio", tokens.audio)):
        if name and getattr(config, f"{field}_token_id") != vocabulary[name]:
            raise ValueError(
                f"{name} is {vocabulary[name]} in the tokenizer but {getattr(config, f'{field}_token_id')} in config.json"
            )
    return ", ".join(f"{name} {vocabulary[name]}" for name in wanted)


def _layout(loaded: LoadedBackbone, collate: Collator) -> str:
    """Our ids and tower inputs against the checkpoint's own processor, one medium at a time."""
    import torch

    compared = []
    for item in golden_items(loaded.spec):
        if item.text and (item.image is not None or item.frames is not None):
            continue
        item = replace(item, text=item.text or "What happens?", instruction=None)
        ours, theirs = collate([item], template="chat", cut=False), processor_call(loaded, collate, [item])
        if not torch.equal(ours.input_ids, theirs["input_ids"]):
            raise ValueError(
                f"{item.item_id}: {ours.input_ids.shape[1]} ids, the processor gives {theirs['input_ids'].shape[1]} others"
            )
        for name, value in (("pixel_values", ours.media.image_patches), ("pixel_values_videos", ours.media.video_patches)):
            if value is not None and not torch.allclose(value, theirs[name], atol=1e-4):
                raise ValueError(f"{item.item_id}: {name} differ by {(value - theirs[name]).abs().max():.4f}")
        compared.append(item.item_id)
    return f"{len(compared)} prompts equal the processor's"


def processor_call(loaded: LoadedBackbone, collate: Collator, items: list[DecodedItem], template_text: str = "{text}") -> Any:
    """What the checkpoint's own processor makes of items of one kind: the call that a user of transformers would write."""
    import torch

    spec, first = collate.spec, items[0]
    kinds = [("video", first.frames), ("image", first.image), ("audio", first.wave if first.frames is None else None)]
    slots = [{"type": kind, kind: "x"} for kind, value in kinds if value is not None]
    prompts = []
    for item in items:
        text = {"type": "text", "text": template_text.format(text=item.text or "")}
        chat = [{"role": "user", "content": [*slots, text]}]
        prompts.append(loaded.processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))
    call: dict[str, Any] = {"padding": True, "padding_side": "right"}
    if first.frames is not None:
        call["videos"] = [torch.from_numpy(np.asarray(item.frames)).permute(0, 3, 1, 2) for item in items]
        size = {"shortest_edge": spec.video_min_pixels, "longest_edge": spec.video_max_pixels}
        call |= {"fps": first.fps, "size": size} if spec.hears else {"video_metadata": [_metadata(item) for item in items]}
        call |= {} if spec.hears else {"videos_kwargs": {"size": size}}
    if first.image is not None:
        call["images"] = [torch.from_numpy(np.asarray(item.image)).permute(2, 0, 1) for item in items]
    if first.wave is not None:
        call |= {"audio": [item.wave for item in items], "sampling_rate": spec.sampling_rate_hz}
        if first.frames is not None:
            call |= {"audio_from_video_indices": list(range(len(items))), "load_audio_from_video": True}
    return loaded.processor(text=prompts, return_tensors="pt", **call)


def _metadata(item: DecodedItem) -> Any:
    from transformers.video_utils import VideoMetadata

    count = len(item.frames) if item.frames is not None else 0
    return VideoMetadata(total_num_frames=count, fps=item.fps, frames_indices=list(range(count)))


def _hidden(loaded: LoadedBackbone, collate: Collator, device: str) -> str:
    """Towers and language model in two calls against the checkpoint in one call, position ids its own."""
    import torch

    worst, dtype = 0.0, str(loaded.model.dtype).removeprefix("torch.")
    for item in golden_items(loaded.spec):
        if item.item_id not in ("text-0", "image-0", "video-0", "sound-video-0", "sound-0"):
            continue
        item = replace(item, text=item.text or "What happens?")
        theirs = processor_call(loaded, collate, [item])
        call = {k: v.to(device) if hasattr(v, "to") else v for k, v in theirs.items() if k != "video_metadata"}
        if item.frames is not None and item.wave is not None:
            call["use_audio_in_video"] = True
        with torch.no_grad():
            towers.core_of(loaded.model).rope_deltas = None
            expected = towers.core_of(loaded.model)(**call).last_hidden_state
            found = towers.forward(loaded.model, collate([item], template="chat", cut=False).to(device))
        worst = max(worst, float((expected - found).abs().max()))
    if worst > TOLERANCE.get(dtype, 0.1):
        raise ValueError(f"hidden states differ by {worst:.5f}, expected at most {TOLERANCE.get(dtype, 0.1)} in {dtype}")
    return f"largest difference {worst:.1e} in {dtype}"


def _padding(loaded: LoadedBackbone, collate: Collator, device: str) -> str:
    """Vectors alone against vectors in one mixed batch, on both padding sides."""
    items = golden_items(loaded.spec)[::3]
    alone = np.concatenate([_vectors(loaded, collate([item]).to(device)) for item in items])
    cosines = []
    for side in ("left", "right"):
        collate.padding_side = side
        cosines.append((alone * _vectors(loaded, collate(items).to(device))).sum(1).min())
    limit = 0.9999 if "float32" in str(loaded.model.dtype) else 0.999
    if min(cosines) < limit:
        raise ValueError(f"cosine {min(cosines):.6f} between a vector alone and in a batch; expected at least {limit}")
    return f"cosine at least {min(cosines):.6f}"


def _vectors(loaded: LoadedBackbone, batch: Batch) -> np.ndarray:
    import torch

    with torch.no_grad():
        hidden = towers.forward(loaded.model, batch)
    rows = torch.arange(len(batch.disc_positions), device=hidden.device)
    states = hidden[rows, batch.disc_positions].float()
    return torch.nn.functional.normalize(states, dim=-1).cpu().numpy()
