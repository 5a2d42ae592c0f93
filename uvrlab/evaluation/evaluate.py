"""`evaluate`: a model and its starting point on every dataset of a benchmark, query by query.

Embeddings are cached by (model, media, sampling) digests in the work folder; search is exact. Both models see the same items
through the same code, so the before/after table is a paired comparison.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from uvrlab import runs
from uvrlab.config import EvaluateConfig, StageConfig
from uvrlab.data import schema
from uvrlab.data.items import ClipIndex, Item
from uvrlab.data.media import media_sha256
from uvrlab.evaluation import answers, baselines, results, tasks
from uvrlab.runs import RunDir, StageReport

METRICS = ("R@1", "R@5", "R@10", "MRR")


def run(config: StageConfig[EvaluateConfig], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """Score `model` and its base on the benchmark; writes `results.json`, `per_query.parquet` and `base/` with the same two.

    With `questions`, `answers/` and `base/answers/` hold the same two of the questions; `baselines/NAME/` hold those of each
    baseline. The base is the `base` input, else the bare backbone. Raises TaskError for a faulty benchmark; an item that cannot be
    encoded is an error, because a benchmark with missing candidates is another benchmark.
    """
    from uvrlab.evaluation import answers_report, evaluate_report
    from uvrlab.models.device import torch_device
    from uvrlab.models.embedder import load

    own, bench = config.own, Benchmark.load(inputs["benchmark"], config.own.datasets)
    device = torch_device(config.run.device)
    start = inputs["base"] / "model" if "base" in inputs else config.backbone
    scored, answered = [], []
    for path, folder in ((inputs["model"] / "model", out), (start, out / "base")):
        embedder = load(path, device)
        scored.append(score(embedder, bench, own, config.run.workers, config.run.seed))
        folder.mkdir(exist_ok=True)
        results.write(folder, scored[-1])
        answered.append(_answers(embedder, bench, config, folder / "answers"))
    trained, base = scored
    incumbent = results.read(inputs["incumbent"]) if "incumbent" in inputs else None
    report = evaluate_report.make(config, bench, trained, base, incumbent)
    answers_report.add(report, answered[0], answered[1], config.run.seed)

    def beside(embedder: Any, modes: Any) -> results.Evaluation:
        return score(embedder, bench, own.model_copy(update={"modes": modes}), config.run.workers, config.run.seed)

    found = baselines.evaluate(own.baselines, own.modes, beside, device, out / "baselines")
    baselines.add(report, trained, found, config.run.seed, own.bootstrap)
    return report


def _answers(embedder: Any, bench: Benchmark, config: StageConfig[EvaluateConfig], folder: Path) -> results.Evaluation | None:
    """Ask and write, where questions are wanted and there are any."""
    own, run = config.own, config.run
    if not own.questions:
        return None
    found = answers.evaluate(embedder, bench, own.questions, workers=run.workers, seed=run.seed, bootstrap=own.bootstrap)
    if found is not None:
        folder.mkdir()
        results.write(folder, found)
    return found


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's tasks, its clips, and the digest of the tables and media that define it."""

    tasks: list[tasks.Task]
    index: ClipIndex
    digest: str
    base: Path  # of relative URIs

    @classmethod
    def load(cls, run_dir: Path, datasets: Sequence[str] = ()) -> Benchmark:
        """The `benchmark/` of an ingest run, or of a benchmark run."""
        folder = run_dir / "benchmark"
        index = ClipIndex().add_rows(schema.read_table("clips", folder / "clips"), run_dir)
        files = {f.path: f.sha256 for f in RunDir(run_dir).manifest.files if f.path.startswith("benchmark/")}
        return cls(tasks.load(folder, datasets), index, runs.digest_json([files, list(datasets)]), run_dir)

    def item(self, row: Mapping[str, Any], name: str) -> Item:
        """An item row of the benchmark's tables as an item to encode."""
        return self.index.item(row, name, base=self.base)


def score(embedder: Any, bench: Benchmark, own: EvaluateConfig, workers: int, seed: int) -> results.Evaluation:
    """Every task of the benchmark under one embedder, in every configured mode."""
    rows: list[dict[str, Any]] = []
    chances: dict[tuple[str, str], float] = {}
    for mode in own.modes:
        vectors = Vectors(embedder, bench, own.batch_size, workers, mode)
        vectors.fill([row for task in bench.tasks for row in (*(q.item for q in task.queries), *task.corpus.values())])
        for task in bench.tasks:
            queries = [dict(q.item or {}) for q in task.queries]
            found = tasks.score(task, vectors.get(queries), vectors.get(list(task.corpus.values())), METRICS)
            rows += tasks.per_query_rows(
                task,
                found,
                mode=mode,
                model_digest=embedder.digest,
                benchmark_digest=bench.digest,
                n_tokens=[vectors.tokens[vectors.key(query)] for query in queries],
            )
            chances |= {(task.dataset, name): level for name, level in tasks.mean_chances(found).items()}
    sampling = asdict(embedder.preprocess.sampling) | {"template": embedder.preprocess.template}
    return results.summarise(rows, chances=chances, seed=seed, bootstrap=own.bootstrap, sampling=sampling)


class Vectors:
    """Item row -> unit vector, kept in the work folder under what the vector depends on."""

    def __init__(self, embedder: Any, bench: Benchmark, batch_size: int, workers: int, mode: Any) -> None:
        self.embedder, self.bench, self.batch_size, self.workers, self.mode = embedder, bench, batch_size, workers, mode
        sampling = json.dumps([asdict(embedder.preprocess.sampling), mode], sort_keys=True)
        name = hashlib.sha256(f"{embedder.digest}{sampling}".encode()).hexdigest()[:24]
        self.file = runs.work_dir() / "embeddings" / f"{name}.safetensors"
        self.known: dict[str, np.ndarray] = {}
        self.tokens: dict[str, int] = {}  # generated for an item
        self._pictures: dict[str, str] = {}  # URI -> sha256
        if self.file.exists():
            from safetensors import safe_open

            with safe_open(self.file, framework="np") as stored:
                self.known = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
                self.tokens = json.loads(stored.metadata()["tokens"])

    def key(self, row: Mapping[str, Any]) -> str:
        """Digest of an item's content: its text, and its media by sha256 and span."""
        clip = self.bench.index.get(row["clip_id"]) if row["clip_id"] else None
        media = [clip.media_sha256, clip.start_s, clip.end_s, clip.audible] if clip else None
        media = [media, self._picture(row["image_uri"])] if row["image_uri"] else media
        return runs.digest_json([row["text"], media, row["start_s"], row["end_s"], list(row["modalities"])])[:32]

    def _picture(self, uri: str) -> str:
        if uri not in self._pictures:
            self._pictures[uri] = media_sha256(uri, self.bench.base)
        return self._pictures[uri]

    def fill(self, rows: Sequence[Any]) -> None:
        """Encode what is not known yet, each distinct item once."""
        missing = {key: row for row in rows if (key := self.key(row)) not in self.known}
        if not missing:
            return
        items = [self.bench.item(row, key) for key, row in missing.items()]
        found = self.embedder.encode_or_reject(items, batch_size=self.batch_size, workers=self.workers, mode=self.mode)
        if found.rejects:
            first = found.rejects[0]
            raise tasks.TaskError(
                f"{len(found.rejects)} of {len(items)} items of the benchmark cannot be encoded, first {first.item}: "
                f"{first.reason}, {first.detail}; a benchmark without them is another one: ingest again without these clips"
            )
        self.known |= dict(zip(missing, found.vectors, strict=True))
        self.tokens |= dict(zip(missing, found.n_tokens, strict=True))
        self._save()

    def _save(self) -> None:
        from safetensors.numpy import save_file

        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".tmp")
        save_file(self.known, partial, metadata={"tokens": json.dumps(self.tokens)})
        partial.replace(self.file)

    def get(self, rows: Sequence[Any]) -> np.ndarray:
        """(N, D) vectors of rows, in their order."""
        return np.stack([self.known[self.key(row)] for row in rows])
