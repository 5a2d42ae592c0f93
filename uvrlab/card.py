"""The model card: what was trained on what, how it scores, how to load it, and what it does not show.

Everything in it is read from manifests and results of the registered runs; nothing is typed in by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from uvrlab.data.summary import DATA
from uvrlab.evaluation.results import Results, Score, is_bound
from uvrlab.runs import Manifest, RunDir

STANDING = "<!-- from here on this card follows promotions.jsonl -->\n"
TAGS = ["video-retrieval", "multimodal-embedding", "text-to-video", "uvrlab"]
LIMITS = (
    "Scores on the procedural world show that a method works and how large its effect is; they say nothing about real video.",
    "Intervals are 95 % bootstrap intervals over queries of one trained model: they do not hold the spread between training seeds.",
    "The adapter continues its backbone's licence and limits; the licences of the clips are listed above.",
)


def write_card(path: Path, *, name: str, model: RunDir, results: RunDir, summary: Results) -> None:
    """Write the card as markdown with a hub-style YAML head."""
    path.write_text(render(name=name, model=model, results=results, summary=summary))


def standing(events: Sequence[Mapping[str, Any]]) -> str:
    """The card's last section: every decision on this version. It follows from the log and is rewritten with it."""
    if not events:
        return ""
    said = {"promote": "promoted", "block": "not promoted", "override": "**promoted against the gate**", "rollback": "rollback"}
    columns = ("when", "who", "action", "verdict", "reason", "verdict_digest")
    rows = [[said.get(cell, cell) for cell in (str(event[c] or "") for c in columns)] for event in events]
    return f"{STANDING}\n## Promotion\n\n" + _table(["when", "who", "decision", "verdict", "reason", "digest of the verdict"], rows)


def fixed_part(text: str) -> str:
    """A card without its section on promotion: what was written when the version was registered."""
    return text.partition(STANDING)[0]


def render(*, name: str, model: RunDir, results: RunDir, summary: Results) -> str:
    """The card's text; the same runs give the same text."""
    m, r = model.manifest, results.manifest
    parts = [
        f"---\n{yaml.safe_dump(_head(name, m, summary), sort_keys=False, allow_unicode=True)}---\n",
        f"# {name} {m.digest[:12]}\n",
        f"A universal video retrieval embedder: backbone `{m.config.get('backbone', '?')}` with one adapter, last trained by the "
        f"stage `{m.stage}` of uvrlab. It embeds any mix of text, image, video and sound into one unit vector.\n",
        "## How to load\n",
        '```python\nfrom uvrlab.models.encode import Embedder\n\nembedder = Embedder.load("model/model")\n'
        'vectors = embedder.encode([{"text": "a red square moves left"}, {"video": "clip.mp4"}])  # (2, D) float32\n```\n',
        "## How it scores\n",
        _scores(summary),
        f"\nBenchmark {summary.benchmark_digest[:12]}, model {summary.model_digest[:12]}, evaluation seed {summary.seed}, "
        f"{summary.bootstrap} bootstrap draws.\n",
        "## What it was trained on\n",
        _data(model.path),
        "## What it was trained with\n",
        f"```json\n{json.dumps(m.config, indent=1, sort_keys=True)}\n```\n",
        "## Where it comes from\n",
        _table(["what", "digest"], _lineage(m, r)),
        f"\nVersions: {', '.join(f'{k} {v}' for k, v in sorted(m.versions.items()))}.\n",
        "## Limits\n",
        "\n".join(f"- {limit}" for limit in LIMITS) + "\n",
    ]
    return "\n".join(parts)


def _head(name: str, m: Manifest, summary: Results) -> dict[str, Any]:
    scores = [
        {
            "task": {"type": "video-retrieval"},
            "dataset": {"name": score.dataset, "type": score.dataset, "revision": summary.benchmark_digest[:12]},
            "metrics": [{"type": score.metric, "name": f"{score.metric} ({score.mode})", "value": round(score.value, 4)}],
        }
        for score in _headline(summary)
    ]
    return {
        "license": "apache-2.0",
        "library_name": "uvrlab",
        "pipeline_tag": "feature-extraction",
        "base_model": m.config.get("backbone", "?"),
        "tags": TAGS,
        "metrics": sorted({score.metric for score in _headline(summary)}),
        "model-index": [{"name": name, "results": scores}],
    }


def _headline(summary: Results) -> list[Score]:
    """Each dataset's own metric, in every mode that is a way to search."""
    return [s for s in summary.scores if s.metric == summary.main[s.dataset] and not is_bound(s.mode)]


def _scores(summary: Results) -> str:
    rows = [
        [s.dataset, s.mode, s.metric, f"{s.value:.3f}", f"{s.low:.3f} to {s.high:.3f}", _share(s.chance), str(s.n)]
        for s in (*_headline(summary), *(average for average in summary.averages if not is_bound(average.mode)))
    ]
    return _table(["dataset", "mode", "metric", "score", "95 % interval", "chance", "n"], rows)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _data(model: Path) -> str:
    if not (model / DATA).is_file():
        return f"The model directory holds no {DATA}; only the digests below identify its data.\n"
    data = json.loads((model / DATA).read_text())
    rows = [
        [table, column, ", ".join(f"{value} {n}" for value, n in counts.items())]
        for table, facts in data.items()
        for column, counts in facts.items()
        if isinstance(counts, dict)
    ]
    hours, clips, pairs = data["clips"]["hours"], data["clips"]["count"], data["pairs"]["count"]
    return f"{clips} clips ({hours:.2f} h) and {pairs} pairs.\n\n" + _table(["table", "by", "counts"], rows)


def _lineage(m: Manifest, r: Manifest) -> list[list[str]]:
    rows = [["model run", m.digest], ["model code", m.code_digest], ["results run", r.digest]]
    rows += [[f"model input {name}", digest] for name, digest in sorted(m.inputs.items())]
    return rows + [[f"results input {name}", digest] for name, digest in sorted(r.inputs.items())]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
