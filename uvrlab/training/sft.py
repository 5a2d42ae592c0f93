"""`sft`: contrastive and next-token fine-tuning of one LoRA adapter on frozen towers (UME-R1 stage 1).

loss = InfoNCE(disc) + InfoNCE(gen) + next token, each with its weight, in one forward pass a side. Tower features are computed
once a clip and reused by every step and stage. Batches hold one dataset each (a task and a caption style).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uvrlab import runs
from uvrlab.config import SftConfig, StageConfig
from uvrlab.runs import StageReport


def run(config: StageConfig[SftConfig], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """Train on the train pairs of `uvrd`, measure held-out R@1 before and after, and write a model directory to `out/model`.

    Raises ValueError where no batch can be made of the train pairs.
    """
    import torch

    from uvrlab.data.summary import DATA, data_summary
    from uvrlab.models.adapter import new_adapter
    from uvrlab.models.device import torch_device
    from uvrlab.models.modeldir import install_readouts, load_backbone, save_model_dir
    from uvrlab.training import contrastive, distributed, pairs, sft_report
    from uvrlab.training.batches import Collation, PairBatches
    from uvrlab.training.heldout import retrieval

    own = config.own
    torch.manual_seed(config.run.seed)
    distributed.begin(torch_device(config.run.device))
    loaded = load_backbone(config.backbone, device=torch_device(config.run.device))
    rows = install_readouts(loaded)
    lora = own.lora
    model = new_adapter(loaded.spec, loaded.model, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, trainable_rows=rows)
    train = pairs.load(inputs["clips"], inputs["uvrd"], ["train"])
    held_out = pairs.head(pairs.load(inputs["clips"], inputs["uvrd"], ["val"]), own.validation_pairs, config.run.seed)
    cache = open_cache(config, loaded, model)
    train, held_out, rejects = featurized(cache, train, held_out, config.run.workers)
    plan = pairs.plan_batches(train, own.steps, own.batch_size, config.run.seed)
    before = retrieval(model, held_out, cache)
    batches = PairBatches(train, plan, Collation(cache, cache.collate, own.chunk_pairs, own.chunk_tokens))
    history = contrastive.train(model, batches, own, config.run, runs.checkpoint_dir())
    with distributed.whole(model):
        after = retrieval(model, held_out, cache)
        save_model_dir(out / "model", loaded, model)
    runs.write_json(out / "history.json", history)
    runs.write_json(out / DATA, data_summary(inputs["clips"], inputs["uvrd"]))
    return sft_report.make(config, train, held_out, before, after, history, rejects, out)


def open_cache(config: StageConfig[Any], loaded: Any, model: Any) -> Any:
    """The feature cache of this backbone in the work folder, shared by all training stages."""
    from uvrlab.models.device import torch_device
    from uvrlab.models.features import FeatureCache
    from uvrlab.models.preprocess import default_preprocess

    preprocess = default_preprocess(loaded.spec)
    collate = preprocess.collator(loaded.spec, loaded.tokenizer, loaded.model.config)
    return FeatureCache(runs.work_dir() / "features", model, collate, preprocess.sampling, torch_device(config.run.device))


def featurized(
    cache: Any, train: Sequence[Any], held_out: Sequence[Any], workers: int, more: Sequence[Any] = ()
) -> tuple[list[Any], list[Any], list[Any]]:
    """Compute missing features, also of `more` items; pairs of a clip that cannot be decoded leave, its items are rejects."""
    from uvrlab.data.workers import MediaPool
    from uvrlab.training import distributed

    items = [*(side for pair in (*train, *held_out) for side in (pair.query, pair.target)), *more]
    with distributed.first_alone(), MediaPool(workers) as pool:
        cache.refresh()
        rejects = cache.add(items, pool=pool)
    kept = [[p for p in part if p.query in cache and p.target in cache] for part in (train, held_out)]
    if rejects and not kept[0]:
        raise ValueError(f"none of {len(train)} train pairs can be decoded; first {rejects[0].item}: {rejects[0].detail}")
    return kept[0], kept[1], rejects
