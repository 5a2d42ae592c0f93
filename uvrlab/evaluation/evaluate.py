"""`evaluate`: a model and its starting point on every dataset of a benchmark, query by query.

Embeddings are cached by (model, media, sampling) digests in the work folder; search is exact. Both models see the same items
through the same code, so the before/after table is a paired comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uvrlab import runs
from uvrlab.config import EvaluateConfig, StageConfig
from uvrlab.data import schema
from uvrlab.data.hearing import DATASETS as HEARING
from uvrlab.data.items import ClipIndex, Item
from uvrlab.data.world import attributes
from uvrlab.evaluation import answers, baselines, hearing, mode_summary, modes, results, tasks, told
from uvrlab.evaluation.tasks import Task, TaskError
from uvrlab.evaluation.vectors import Vectors
from uvrlab.models.modes import Mode, Thinking
from uvrlab.runs import RunDir, StageReport

METRICS = ("R@1", "R@5", "R@10", "MRR")


def run(config: StageConfig[EvaluateConfig], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """Score `model` and its base on the benchmark; writes `results.json`, `per_query.parquet` and `base/` with the same two.

    With `questions`, `answers/` and `base/answers/` hold the same two of the questions, and where the benchmark asks about hearing,
    `hearing/` and `base/hearing/` those of its queries; `baselines/NAME/` hold those of each baseline, which is loaded and tried
    before anything is scored. The base is the `base` input, else the bare backbone. Raises TaskError for a faulty benchmark; an
    item that cannot be encoded is an error, because a benchmark with missing candidates is another benchmark.
    """
    from uvrlab.evaluation import answers_report, evaluate_report, hearing_report, modes_report
    from uvrlab.models.device import torch_device
    from uvrlab.models.embedder import load

    own, bench = config.own, Benchmark.load(inputs["benchmark"], config.own.datasets)
    device = torch_device(config.run.device)
    baselines.probe(own.baselines, bench, device, config.run.workers)
    start = inputs["base"] / "model" if "base" in inputs else config.backbone
    # A bare backbone was never taught to think: its plain and its greedy vector say all about it.
    of_base: Sequence[str] = own.modes if "base" in inputs else [mode for mode in own.modes if mode in ("speed", "think")]
    scored, answered, heard = [], [], []
    both: list[tuple[Any, Path, Sequence[str]]] = [(inputs["model"] / "model", out, own.modes), (start, out / "base", of_base)]
    for path, folder, asked in both:
        embedder = load(path, device)
        wanted = asked if folder == out else modes.possible(asked, embedder.modes)
        if not wanted:
            raise ValueError(f"{path} has modes {', '.join(embedder.modes)}, none of evaluate.modes; add speed to compare with it")
        scored.append(score(embedder, bench, own, config.run.workers, config.run.seed, wanted))
        folder.mkdir(exist_ok=True)
        results.write(folder, scored[-1].evaluation)
        answered.append(_answers(embedder, bench, config, folder / "answers"))
        heard.append(_hearing(embedder, bench, config, folder / "hearing"))
    trained, base = (outcome.evaluation for outcome in scored)
    incumbent = results.read(inputs["incumbent"]) if "incumbent" in inputs else None
    report = evaluate_report.make(config, bench, trained, base, incumbent)
    modes_report.add(report, scored[0], base, config.run.seed)
    answers_report.add(report, answered[0], answered[1], config.run.seed)
    hearing_report.add(report, bench, heard[0], heard[1], config.run.seed)

    def beside(embedder: Any, wanted: Any) -> results.Evaluation:
        return score(embedder, bench, own, config.run.workers, config.run.seed, wanted).evaluation

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


def _hearing(embedder: Any, bench: Benchmark, config: StageConfig[EvaluateConfig], folder: Path) -> results.Evaluation | None:
    """Score and write the queries about hearing, where there are any and the model hears."""
    found = hearing.evaluate(embedder, bench, config.own, workers=config.run.workers, seed=config.run.seed)
    if found is not None:
        folder.mkdir()
        results.write(folder, found)
    return found


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's tasks, its clips, and the digest of the tables and media that define it.

    `hearing` are the tasks that ask what a clip's sound is worth; they are scored by themselves and enter no average.
    """

    tasks: list[tasks.Task]
    index: ClipIndex
    digest: str
    base: Path  # of relative URIs
    scenes: Mapping[str, str] = field(default_factory=dict)  # clip_id -> scene graph as JSON, of the world's clips
    hearing: Sequence[Task] = ()

    @classmethod
    def load(cls, run_dir: Path, datasets: Sequence[str] = ()) -> Benchmark:
        """The `benchmark/` of an ingest run, or of a benchmark run. TaskError where `datasets` ask about nothing but hearing."""
        folder = run_dir / "benchmark"
        clips = schema.read_table("clips", folder / "clips")
        index, scenes = ClipIndex().add_rows(clips, run_dir), {row["clip_id"]: row["scene"] for row in clips if row["scene"]}
        files = {f.path: f.sha256 for f in RunDir(run_dir).manifest.files if f.path.startswith("benchmark/")}
        every, digest = tasks.load(folder, datasets), runs.digest_json([files, list(datasets)])
        own, heard = ([task for task in every if (task.dataset in HEARING) == about] for about in (False, True))
        if not own:
            raise TaskError(f"{folder}: all data sets of {list(datasets)} are about hearing; name one of retrieval beside them")
        return cls(own, index, digest, run_dir, scenes, heard)

    def candidates(self) -> list[Any]:
        """The item rows of every corpus."""
        return [row for task in self.tasks for row in task.corpus.values()]

    def item(self, row: Mapping[str, Any], name: str) -> Item:
        """An item row of the benchmark's tables as an item to encode."""
        return self.index.item(row, name, base=self.base, instruction=row.get("instruction"))


@dataclass(frozen=True)
class Outcome:
    """An evaluation, and beside it what is not part of its digest: {mode: mean milliseconds a query}, and thoughts about clips."""

    evaluation: results.Evaluation
    milliseconds: Mapping[str, float]
    told: Sequence[attributes.Told] = ()


def score(
    embedder: Any, bench: Benchmark, own: EvaluateConfig, workers: int, seed: int, wanted: Sequence[str] | None = None
) -> Outcome:
    """Every task of the benchmark under one embedder, in the `wanted` modes (default: every configured one)."""
    wanted = own.modes if wanted is None else wanted
    every = [tasks.asked(task, own.prompts) for task in bench.tasks]
    vectors = _vectors(embedder, bench, every, own, workers, seed, wanted)
    scored = list(modes.Scorer(vectors, METRICS, own).all(wanted, every))
    rows: list[dict[str, Any]] = []
    chances: dict[tuple[str, str], float] = {}
    digests = {"model_digest": embedder.digest, "benchmark_digest": bench.digest}
    for one in scored:
        tokens = [round(n) for n in one.n_tokens]
        rows += tasks.per_query_rows(one.task, one.scores, mode=one.mode, n_tokens=tokens, **digests)
        chances |= {(one.task.dataset, name): level for name, level in tasks.mean_chances(one.scores).items()}
    sampling = asdict(embedder.preprocess.sampling) | {"template": embedder.preprocess.template, "prompts": own.prompts}
    if set(wanted) != {"speed"}:
        sampling |= {"thinking": own.thinking.model_dump(), "router": own.router.model_dump()}
    bounds = {one.mode for one in scored if results.is_bound(one.mode)}
    options: dict[str, Any] = {"seed": seed, "bootstrap": own.bootstrap}
    found = results.summarise(rows, chances=chances, sampling=sampling, bounds=bounds, **options)
    thoughts: list[attributes.Told] = []
    if set(wanted) != {"speed"}:
        thoughts = told.about_clips(embedder, bench, vectors["think"])
        spent = mode_summary.costs(scored, {"think": vectors["think"].mean_tokens(bench.candidates())})
        table, abilities = results.tabulate(rows)
        more = {
            "modes": spent,
            "routing": mode_summary.routing(table, abilities, found.results.main, scored, **options),
            "attributes": attributes.measure(thoughts, **options),
        }
        found = results.Evaluation(found.results.model_copy(update=more), rows)
    return Outcome(found, mode_summary.milliseconds(scored), thoughts)


def _vectors(
    embedder: Any,
    bench: Benchmark,
    every: Sequence[tasks.Task],
    own: EvaluateConfig,
    workers: int,
    seed: int,
    wanted: Sequence[str],
) -> dict[Mode, Vectors]:
    """Everything that the wanted modes need, read once."""
    made: dict[Mode, Vectors] = {}
    queries = [query.item for task in every for query in task.queries]
    for mode, with_candidates in modes.needed(wanted):
        made[mode] = Vectors(embedder, bench, own.batch_size, workers, mode, Thinking(**own.thinking.model_dump(), seed=seed))
        made[mode].fill([*queries, *(bench.candidates() if with_candidates else ())])
    return made
