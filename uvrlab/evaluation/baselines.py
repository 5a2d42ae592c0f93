"""Models of others beside ours: on the same benchmark by the same code, and which published ones we can load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uvrlab.config import BaselineConfig
from uvrlab.evaluation import results
from uvrlab.evaluation.compare import compare
from uvrlab.evaluation.published import ABILITIES, CLIP, MLLM
from uvrlab.evaluation.results import MAIN, Evaluation
from uvrlab.evaluation.tasks import TaskError
from uvrlab.runs import Metric, StageReport

if TYPE_CHECKING:
    from uvrlab.evaluation.evaluate import Benchmark

NOT_RUN = "published, not run"


@dataclass(frozen=True)
class Published:
    """One of the 14 baselines of the GVE paper (arXiv 2510.27571): the kind that loads its published weights, or why none does."""

    name: str
    kind: str | None
    told: str

    @property
    def status(self) -> str:
        """The adapter's kind, or `published, not run`."""
        return f"adapter {self.kind}" if self.kind else NOT_RUN


# No adapter has met the true weights: they are tested with the same classes at tiny size.
_TOLD: dict[str, tuple[str | None, str]] = {
    "CLIP4Clip": ("dual", "mean over frames; a checkpoint in transformers' CLIP form as safetensors"),
    "ViCLIP": (None, "its video tower is code of its own"),
    "VideoCLIP-XL": (None, "its video tower is code of its own"),
    "LanguageBind": (None, "its video tower adds layers of its own to CLIP"),
    "InternVideo2-1B": (None, "its video tower is code of its own"),
    "InternVideo2-6B": (None, "its video tower is code of its own"),
    "GME-2B": ("gve", "Qwen2-VL, the same prompt and read-out as GVE"),
    "Unite-2B": (None, "Qwen2-VL read behind a prompt of its own"),
    "VLM2Vec-V2": (None, "Qwen2-VL under an adapter, read behind a prompt of its own"),
    "BGE-VL": (None, "LLaVA-NeXT, which is no backbone of ours"),
    "UniME-7B": (None, "another backbone and a prompt of its own"),
    "B3-7B": (None, "Qwen2-VL read behind a prompt of its own"),
    "GME-7B": ("gve", "Qwen2-VL, the same prompt and read-out as GVE"),
    "Unite-7B": (None, "Qwen2-VL read behind a prompt of its own"),
}
PUBLISHED = tuple(Published(name, *_TOLD[name]) for name in (*CLIP, *MLLM))


def table() -> list[dict[str, Any]]:
    """The 14 published baselines, a row each, with their published averages."""
    averages = ("AVG_D", "AVG_A")
    return [
        {"model": p.name, "status": p.status, "because": p.told} | {a: ABILITIES[p.name][a] for a in averages} for p in PUBLISHED
    ]


def table_text() -> str:
    """The same as lines of text."""
    rows = [f"{row['model']:<16} {row['AVG_D']:.3f}  {row['AVG_A']:.3f}  {row['status']:<18}  {row['because']}" for row in table()]
    return "\n".join([f"{'model':<16} AVG_D  AVG_A  status", *rows])


def probe(wanted: Sequence[BaselineConfig], bench: Benchmark, device: str, workers: int) -> None:
    """Load each baseline and let it read one item of every kind of the benchmark, so that its faults come before any score.

    It is let go again and loaded anew when its turn comes, since large models do not fit side by side.

    Raises ModelError for a folder that cannot be loaded, TaskError for a kind of item that a baseline cannot take.
    """
    from uvrlab.models.embedder import load

    kinds: dict[tuple[str, ...], tuple[str, Any]] = {}  # modalities -> dataset, item row
    for task in bench.tasks:
        for row in (*(query.item for query in task.queries if query.item), *task.corpus.values()):
            kinds.setdefault(tuple(sorted(row["modalities"])), (task.dataset, row))
    items = [bench.item(row, f"{dataset}: {'+'.join(kind)}") for kind, (dataset, row) in kinds.items()]
    for baseline in wanted:
        embedder = load(baseline.path, device, baseline.kind)
        found = embedder.encode_or_reject(items, workers=workers)
        embedder.close()
        if found.rejects:
            raise TaskError(
                f"baseline {baseline.name} takes {', '.join(embedder.modalities)}, not every item of the benchmark: first "
                f"{found.rejects[0].item}, {found.rejects[0].detail}; leave these datasets or this baseline out"
            )


def evaluate(
    wanted: Sequence[BaselineConfig],
    modes: Sequence[str],
    score: Callable[[Any, tuple[str, ...]], Evaluation],
    device: str,
    out: Path,
) -> dict[str, Evaluation]:
    """{name: evaluation} of each baseline in those `modes` that it has, speed at least; each is written to `out/NAME`.

    Raises ModelError for a folder that cannot be loaded, TaskError for an item that a baseline cannot take.
    """
    from uvrlab.models.embedder import load

    found: dict[str, Evaluation] = {}
    for baseline in wanted:
        embedder = load(baseline.path, device, baseline.kind)
        found[baseline.name] = score(embedder, tuple(mode for mode in modes if mode in embedder.modes) or ("speed",))
        embedder.close()
        (out / baseline.name).mkdir(parents=True)
        results.write(out / baseline.name, found[baseline.name])
    return found


def add(report: StageReport, trained: Evaluation, found: Mapping[str, Evaluation], seed: int, bootstrap: int) -> None:
    """Metrics and a section: scores in the first mode that a baseline shares with the model, and the model's lead over it."""
    if not found or report.page is None:
        return
    rows: list[dict[str, Any]] = []
    leads: dict[str, Metric] = {}
    for name, evaluation in found.items():
        shared = [mode for mode in _modes(trained) if mode in _modes(evaluation)]
        if not shared:
            report.warnings.append(f"baseline {name}: no mode in common with the model, which has {', '.join(_modes(trained))}")
            continue
        if not rows:
            rows.append(_row("this model", trained, shared[0]))
        rows.append(_row(name, evaluation, shared[0]))
        effects = compare(trained, evaluation, seed=seed, bootstrap=bootstrap, modes=(shared[0], shared[0])).effects
        lead = next(e for e in effects if (e.dataset, e.metric) == ("AVG_D", MAIN))
        leads[name] = Metric(value=lead.difference, unit="points", low=lead.low, high=lead.high, n=lead.n)
        average = evaluation.results.score("AVG_D", mode=shared[0])
        told = Metric(value=average.value, unit="share", low=average.low, high=average.high, n=average.n)
        report.metrics[f"baseline_{name}_AVG_D"] = told
    report.page.section("Beside baselines", "Models of others on the same queries; vision only, where they do not hear.")
    report.page.table(rows, units=dict.fromkeys((column for row in rows for column in row if column != "model"), "share"))
    report.page.effects(leads, caption="This model's lead, AVG_D, 95 % paired bootstrap")


def _modes(evaluation: Evaluation) -> list[str]:
    return list(dict.fromkeys(str(row["mode"]) for row in evaluation.rows))


def _row(name: str, evaluation: Evaluation, mode: str) -> dict[str, Any]:
    told = evaluation.results
    row: dict[str, Any] = {"model": name}
    row |= {s.dataset: s.value for s in told.averages if (s.metric, s.mode) == (MAIN, mode) and s.dataset.startswith("AVG")}
    return row | {s.dataset: s.value for s in told.scores if (s.metric, s.mode) == (told.main[s.dataset], mode)}
