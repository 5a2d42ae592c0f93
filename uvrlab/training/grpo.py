"""`grpo`: thoughts are rewarded by what their vectors retrieve (UME-R1 stage 2), on frozen towers and one adapter.

Both sides of N pairs think G times a step; a rollout earns its form and r * d among the step's rollouts of the other side. The KL
term holds the policy to the model that the stage started from. Tower features are computed once a clip, thoughts are sampled from
one prefill a prompt, and their vectors come from the rollouts themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uvrlab import runs
from uvrlab.config import GrpoConfig, StageConfig
from uvrlab.runs import StageReport


def run(config: StageConfig[GrpoConfig], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """Train on pairs of split `rl`, else `train`; write `model/`, `rollouts/` and the curves into `out`.

    Raises ValueError where no step can be made of the pairs, or where the input model is not read out at <disc_emb>.
    """
    import torch

    from uvrlab.data import schema
    from uvrlab.data.summary import DATA, data_summary
    from uvrlab.models.device import torch_device
    from uvrlab.models.features import FeatureCache
    from uvrlab.models.modeldir import load_model, save_model_dir
    from uvrlab.training import distributed, grpo_report, pairs
    from uvrlab.training.grpo_heldout import measure, scenes_of
    from uvrlab.training.grpo_loop import train
    from uvrlab.training.rollouts import Roller
    from uvrlab.training.sft import featurized

    own, seed = config.own, config.run.seed
    torch.manual_seed(seed)
    distributed.begin(torch_device(config.run.device))
    loaded = load_model(inputs["model"] / "model", device=torch_device(config.run.device), merge=False)
    if loaded.preprocess.template != "embed":
        raise ValueError(
            f"the model is read out by template {loaded.preprocess.template!r}; grpo needs one that thinks: train sft first"
        )
    chosen, warnings = rl_pairs(inputs["clips"], inputs["uvrd"])
    held_out = pairs.head(pairs.load(inputs["clips"], inputs["uvrd"], ["val"]), own.validation_pairs, seed)
    collate = loaded.preprocess.collator(loaded.spec, loaded.tokenizer, loaded.model.config)
    cache = FeatureCache(runs.work_dir() / "features", loaded.model, collate, loaded.preprocess.sampling, str(loaded.model.device))
    chosen, held_out, rejects = featurized(cache, chosen, held_out, config.run.workers)
    roller = Roller(loaded.model, loaded.spec, loaded.tokenizer, loaded.preprocess, cache, own, seed)
    checkpoints = runs.checkpoint_dir()
    scenes = scenes_of(schema.read_table("clips", inputs["clips"] / "clips"))
    before = measure(roller, held_out, scenes)
    history = train(roller, chosen, own, config.run, checkpoints)
    after = measure(roller, held_out, scenes)
    loaded.model.delete_adapter("ref") if "ref" in loaded.model.peft_config else None
    save_model_dir(out / "model", loaded, loaded.model)
    table = [row for step in range(own.steps) for row in kept_rollouts(checkpoints, step + 1)]
    schema.write_table("rollouts", table, out / "rollouts")
    runs.write_json(out / "history.json", history)
    runs.write_json(out / DATA, data_summary(inputs["clips"], inputs["uvrd"]))
    return grpo_report.make(config, chosen, (before, after), history, table, rejects, warnings, out)


def rl_pairs(clips: Path, uvrd: Path) -> tuple[list[Any], list[str]]:
    """The pairs of split `rl`; without any those of `train`, with a warning that says so."""
    from uvrlab.training import pairs

    found = pairs.load(clips, uvrd, ["rl"])
    if found:
        return found, []
    return pairs.load(clips, uvrd, ["train"]), ["no pairs of split rl: those of train are used; set ingest.world.rl or splits.rl"]


def kept_rollouts(checkpoints: Path, step: int) -> Sequence[dict[str, Any]]:
    """The rollouts that were made for one step; none for a step that used those of an earlier one."""
    from uvrlab.data import schema

    file = checkpoints / "rollouts" / f"step-{step:06d}.parquet"
    return schema.read_table("rollouts", file) if file.exists() else []
