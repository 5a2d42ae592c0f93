"""`curriculum`: hard negatives and the Modality Pyramid on a trained model, with replay of what earlier stages taught (GVE).

Each epoch every task is probed, tasks are drawn by how well their pairs are aligned, and negatives are mined by the model as it is.
The adapter goes on from where it was. The arithmetic of the pyramid is in `curriculum.py`, the loss in `losses/contrastive.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uvrlab import runs
from uvrlab.config import CurriculumConfig, StageConfig
from uvrlab.runs import StageReport


def run(config: StageConfig[CurriculumConfig], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """Train on the train pairs; write `model/`, `negatives/` and `schedule.json`, and measure held-out pairs and questions.

    Raises ValueError where no batch can be made of the train pairs, or where the input model is not read out at <disc_emb>.
    """
    import torch

    from uvrlab.data import schema
    from uvrlab.data.summary import DATA, data_summary
    from uvrlab.models.device import torch_device
    from uvrlab.models.features import FeatureCache
    from uvrlab.models.modeldir import load_model, save_model_dir
    from uvrlab.training import curriculum_report, distributed, pairs, questions
    from uvrlab.training.batches import Collation
    from uvrlab.training.curriculum_epochs import Epochs
    from uvrlab.training.curriculum_heldout import measure
    from uvrlab.training.curriculum_loop import Steps, train
    from uvrlab.training.curriculum_replay import own_answers
    from uvrlab.training.heldout import encode
    from uvrlab.training.sft import featurized

    seed, device = config.run.seed, torch_device(config.run.device)
    own: Any = config.own
    torch.manual_seed(seed)
    distributed.begin(device)
    loaded = load_model(inputs["model"] / "model", device=device, merge=False)
    if loaded.preprocess.template != "embed":
        raise ValueError(
            f"the model is read out by template {loaded.preprocess.template!r}; curriculum needs <disc_emb>: train sft first"
        )
    collate = loaded.preprocess.collator(loaded.spec, loaded.tokenizer, loaded.model.config)
    cache = FeatureCache(runs.work_dir() / "features", loaded.model, collate, loaded.preprocess.sampling, device)
    chosen = pairs.load(inputs["clips"], inputs["uvrd"], ["train"])
    held_out = pairs.head(pairs.load(inputs["clips"], inputs["uvrd"], ["val"]), own.validation_pairs, seed)
    counts = {"train": own.replay.questions if own.replay.grounding else 0, "val": own.validation_questions}
    both = {split: questions.head(questions.load(inputs["clips"], inputs["uvrd"], [split]), n) for split, n in counts.items()}
    items = [sample.query for some in both.values() for sample in some.samples]
    chosen, held_out, rejects = featurized(cache, chosen, held_out, config.run.workers, items)
    asked, judged = (questions.whole_clips(questions.decoded(some, cache), cache)[0] for some in both.values())
    roller = questions.QuestionRoller(loaded.model, loaded.spec, loaded.tokenizer, loaded.preprocess, cache, own, seed)
    checkpoints = runs.checkpoint_dir()
    before = measure(roller, held_out, judged)
    answers = own_answers(roller, asked, checkpoints / "answers.json")

    def reader(some: Any) -> Any:
        return encode(loaded.model, some, cache)

    epochs = Epochs(chosen, len(answers), own, seed, loaded.model, lambda: prober(config, reader), reader, checkpoints / "epochs")
    steps = Steps(epochs, chosen, answers, Collation(cache, cache.collate, own.chunk_pairs))
    start = time.monotonic()
    history = train(loaded.model, steps, own, config.run, checkpoints)
    seconds = time.monotonic() - start
    epochs.step(own.steps - 1)  # a run that was killed behind its last step has not begun any
    with distributed.whole(loaded.model):
        after = measure(roller, held_out, judged)
        save_model_dir(out / "model", loaded, loaded.model)
    mined = epochs.made if own.mining.every_epoch else epochs.made[:1]
    schema.write_table("negatives", [row for epoch in mined for row in epoch.mined], out / "negatives")
    runs.write_json(out / "schedule.json", curriculum_report.numbers(epochs.made))
    runs.write_json(out / "history.json", history)
    runs.write_json(out / DATA, data_summary(inputs["clips"], inputs["uvrd"]))
    spent = {f"{what}_s": round(s, 2) for what, s in epochs.spent_s.items()}
    cost = {**spent, "training_s": round(seconds - sum(epochs.spent_s.values()), 2)}
    return curriculum_report.make(config, chosen, held_out, answers, (before, after), epochs.made, history, rejects, cost, out)


def prober(config: StageConfig[CurriculumConfig], start: Any) -> Any:
    """Vectors of the configured prober; of the model that the stage starts from without one."""
    if config.own.prober is None:
        return start
    from uvrlab.models.device import torch_device
    from uvrlab.models.encode import Embedder

    embedder = Embedder.load(config.own.prober, torch_device(config.run.device))
    return lambda items: embedder.encode(items, workers=config.run.workers)
