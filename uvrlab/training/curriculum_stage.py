"""`curriculum`: hard negatives and the Modality Pyramid on a trained model, with replay of what earlier stages taught (GVE).

Each epoch every task is probed, tasks are drawn by how well their pairs are aligned, and negatives are mined by the model as it is.
The adapter goes on from where it was. The arithmetic of the pyramid is in `curriculum.py`, the loss in `losses/contrastive.py`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uvrlab import runs
from uvrlab.config import CurriculumConfig, StageConfig
from uvrlab.runs import StageReport

if TYPE_CHECKING:
    from uvrlab.training.curriculum_epochs import Epoch
    from uvrlab.training.curriculum_replay import Answer
    from uvrlab.training.pairs import Pair
    from uvrlab.training.questions import Questions


@dataclass(frozen=True)
class Rows:
    """Train and held-out pairs, train questions to be replayed and held-out ones, and what of all this cannot be decoded."""

    train: list[Pair]
    held_out: list[Pair]
    asked: Questions
    judged: Questions
    rejects: list[Any]


def run(config: StageConfig[CurriculumConfig], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """Train on the train pairs; write `model/`, `negatives/` and `schedule.json`, and measure held-out pairs and questions.

    Raises ValueError where no batch can be made of the train pairs, or where the input model is not read out at <disc_emb>.
    """
    import torch

    from uvrlab.models.device import torch_device
    from uvrlab.models.features import FeatureCache
    from uvrlab.models.modeldir import load_model, save_model_dir
    from uvrlab.training import curriculum_report, distributed, questions
    from uvrlab.training.curriculum_heldout import measure
    from uvrlab.training.curriculum_replay import own_answers
    from uvrlab.training.heldout import encode

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
    rows = _read(config, inputs, cache)
    roller = questions.QuestionRoller(loaded.model, loaded.spec, loaded.tokenizer, loaded.preprocess, cache, own, seed)
    checkpoints = runs.checkpoint_dir()
    before = measure(roller, rows.held_out, rows.judged)
    answers = own_answers(roller, rows.asked, checkpoints / "answers.json")
    epochs, history, cost = _train(config, loaded.model, cache, rows, answers, lambda items: encode(loaded.model, items, cache))
    with distributed.whole(loaded.model):
        after = measure(roller, rows.held_out, rows.judged)
        save_model_dir(out / "model", loaded, loaded.model)
    _write(own, inputs, epochs, history, out)
    ends = (before, after)
    return curriculum_report.make(config, rows.train, rows.held_out, answers, ends, epochs, history, rows.rejects, cost, out)


def _read(config: StageConfig[CurriculumConfig], inputs: Mapping[str, Path], cache: Any) -> Rows:
    from uvrlab.training import pairs, questions
    from uvrlab.training.sft import featurized

    own, places = config.own, (inputs["clips"], inputs["uvrd"])
    train = pairs.load(*places, ["train"])
    held_out = pairs.head(pairs.load(*places, ["val"]), own.validation_pairs, config.run.seed)
    asked = questions.head(questions.load(*places, ["train"]), own.replay.questions if own.replay.grounding else 0)
    judged = questions.head(questions.load(*places, ["val"]), own.validation_questions)
    items = [sample.query for some in (asked, judged) for sample in some.samples]
    train, held_out, rejects = featurized(cache, train, held_out, config.run.workers, items)
    asked, judged = (questions.whole_clips(questions.decoded(some, cache), cache)[0] for some in (asked, judged))
    return Rows(train, held_out, asked, judged, rejects)


def _train(
    config: StageConfig[CurriculumConfig], model: Any, cache: Any, rows: Rows, answers: Sequence[Answer], reader: Any
) -> tuple[list[Epoch], list[dict[str, float]], dict[str, float]]:
    """The epochs as they went, the loss history, and the seconds that each part took in this process."""
    from uvrlab.training.batches import Collation
    from uvrlab.training.curriculum_epochs import Epochs
    from uvrlab.training.curriculum_loop import Steps, train

    own, folder = config.own, runs.checkpoint_dir()
    first = functools.partial(prober, config, reader)
    epochs = Epochs(rows.train, len(answers), own, config.run.seed, model, first, reader, folder / "epochs")
    steps = Steps(epochs, rows.train, answers, Collation(cache, cache.collate, own.chunk_pairs, own.chunk_tokens))
    start = time.monotonic()
    history = train(model, steps, own, config.run, folder)
    seconds = time.monotonic() - start
    epochs.step(own.steps - 1)  # a run that was killed behind its last step has not begun any
    spent = {f"{what}_s": round(s, 2) for what, s in epochs.spent_s.items()}
    return epochs.made, history, {**spent, "training_s": round(seconds - sum(epochs.spent_s.values()), 2)}


def _write(
    own: CurriculumConfig, inputs: Mapping[str, Path], epochs: Sequence[Epoch], history: Sequence[dict[str, float]], out: Path
) -> None:
    """What goes beside the model: every mined row with its verdict, the schedule, the losses, and what the data were."""
    from uvrlab.data import schema
    from uvrlab.data.summary import DATA, data_summary
    from uvrlab.training.curriculum_report import numbers

    mined = epochs if own.mining.every_epoch else epochs[:1]
    schema.write_table("negatives", [row for epoch in mined for row in epoch.mined], out / "negatives")
    runs.write_json(out / "schedule.json", numbers(epochs))
    runs.write_json(out / "history.json", history)
    runs.write_json(out / DATA, data_summary(inputs["clips"], inputs["uvrd"]))


def prober(config: StageConfig[CurriculumConfig], start: Any) -> Any:
    """Vectors of the configured prober; of the model that the stage starts from without one."""
    if config.own.prober is None:
        return start
    from uvrlab.models import embedder as models
    from uvrlab.models.device import torch_device

    embedder = models.load(config.own.prober, torch_device(config.run.device))
    return lambda items: embedder.encode(items, workers=config.run.workers)
