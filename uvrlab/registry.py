"""The stage `register`: a model with its results and card becomes an immutable version in the registry directory.

The directory is the truth, for every engine: `<registry>/<name>/versions/<digest>/` holds `model/`, `results/`, `README.md` and,
written last, `entry.json`; a version appears by one rename, whole or not at all. `versions.json` beside it is a listing and can be
rebuilt. Registering the same runs again changes nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uvrlab import runs
from uvrlab.card import write_card
from uvrlab.config import RegisterConfig, StageConfig
from uvrlab.evaluation import results as results_file
from uvrlab.evaluation.results import Results
from uvrlab.report import Report
from uvrlab.runs import Metric, RunDir, RunError, StageReport

ENTRY_SCHEMA = 1
ENTRY, CARD, LISTING, WHEN = "entry.json", "README.md", "versions.json", "registered.json"


def run(config: StageConfig[RegisterConfig], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """Register `inputs["model"]` with the results that judged it. Raises RunError where the two do not belong together.

    Writes the entry and the card into `out` too, so that the run directory tells what was registered without the registry.
    """
    model, results = RunDir(inputs["model"]), RunDir(inputs["results"])
    for opened in (model, results):
        opened.verify()
    summary = _matching(model, results)
    entry = _entry(config.own.name, model, results, summary, incumbent=inputs.get("incumbent_results"))
    home = config.own.registry_dir / config.own.name
    with runs.lock(home):
        version = _store(home, entry, model, results, summary)
        write_listing(home)
    for name in (ENTRY, CARD):
        shutil.copyfile(version / name, out / name)
    report = StageReport(stage="register", metrics=_metrics(summary), counts={"versions": len(versions(home))})
    report.page = _page(entry, report, (out / CARD).read_text())
    return report


def versions(home: Path) -> list[dict[str, Any]]:
    """Every complete version of a model name, oldest first."""
    found = [
        {**json.loads(file.read_text()), **json.loads((file.parent / WHEN).read_text())}
        for file in (home / "versions").glob(f"[!.]*/{ENTRY}")
    ]
    return sorted(found, key=lambda entry: (entry["registered_unix_s"], entry["digest"]))


def write_listing(home: Path) -> None:
    """Rebuild `versions.json`: the newest version, and a line on each."""
    entries = versions(home)
    keys = ("digest", "model", "results", "benchmark", "verdict", "headline", "registered_unix_s")
    latest = entries[-1]["digest"] if entries else None
    runs.write_json(home / LISTING, {"latest": latest, "versions": [{k: e[k] for k in keys} for e in entries]})


def verify_version(version: Path) -> None:
    """Raise RunError naming the first file of a registered version that is missing or altered."""
    entry = json.loads((version / ENTRY).read_text())
    for name in ("model", "results"):
        stored = RunDir(version / name)
        stored.verify()
        if stored.digest != entry[name]:
            raise RunError(f"{version / name}: found run {stored.digest[:12]}, expected {entry[name][:12]}; register it again")
    if runs.sha256_file(version / CARD) != entry["card_sha256"]:
        raise RunError(f"{version / CARD} was altered; register the model again")
    if entry["digest"] != version.name or _digest(entry) != entry["digest"]:
        raise RunError(f"{version / ENTRY} was altered: its digest does not follow from its fields")


def _matching(model: RunDir, results: RunDir) -> Results:
    judged = results.manifest.inputs.get("model")
    if judged != model.digest:
        raise RunError(
            f"the results judge model {str(judged)[:12]}, found model {model.digest[:12]}; evaluate this model, then register it"
        )
    return results_file.read(results.path).results


def _entry(name: str, model: RunDir, results: RunDir, summary: Results, incumbent: Path | None) -> dict[str, Any]:
    entry = {
        "schema": ENTRY_SCHEMA,
        "name": name,
        "model": model.digest,
        "results": results.digest,
        "benchmark": summary.benchmark_digest,
        "incumbent_results": RunDir(incumbent).digest if incumbent else None,
        "stage": model.manifest.stage,
        "seed": model.manifest.seed,
        "config": model.manifest.config,
        "inputs": {"model": model.manifest.inputs, "results": results.manifest.inputs},
        "code": {"model": model.manifest.code_digest, "results": results.manifest.code_digest},
        "versions": model.manifest.versions,
        "headline": {name: metric.value for name, metric in _metrics(summary).items()},
        "verdict": "registered",
    }
    return {**entry, "digest": _digest(entry)}


def _digest(entry: Mapping[str, Any]) -> str:
    """sha256 over what identifies a version, its name and its runs; versions of packages and the card only describe it."""
    return runs.digest_json({key: entry[key] for key in ("schema", "name", "model", "results", "incumbent_results")})


def _store(home: Path, entry: dict[str, Any], model: RunDir, results: RunDir, summary: Results) -> Path:
    """The version's folder, made if it is not there whole. Needs the lock of `home`."""
    folder = home / "versions"
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    version, partial = folder / entry["digest"], folder / f".{entry['digest']}"
    if _intact(version):
        return version
    partial.mkdir()
    for name, opened in (("model", model), ("results", results)):
        shutil.copytree(opened.path, partial / name)
    write_card(partial / CARD, name=entry["name"], model=model, results=results, summary=summary)
    runs.write_json(partial / WHEN, {"registered_unix_s": round(time.time(), 3)})
    runs.write_json(partial / ENTRY, {**entry, "card_sha256": runs.sha256_file(partial / CARD)})
    if version.exists():
        version.rename(folder / f".{entry['digest']}.damaged")
    partial.rename(version)
    _sweep(folder)
    return version


def _sweep(folder: Path) -> None:
    """Remove what a killed process, or a replaced damaged version, left under a hidden name."""
    for leftover in folder.glob(".*"):
        shutil.rmtree(leftover)


def _intact(version: Path) -> bool:
    try:
        verify_version(version)
    except (RunError, OSError, ValueError, KeyError):
        return False
    return True


def _page(entry: dict[str, Any], report: StageReport, card: str) -> Report:
    page = Report(f"Registered: {entry['name']} {entry['digest'][:12]}", f"verdict {entry['verdict']}, seed {entry['seed']}")
    page.section("Scores").headline(report.metrics)
    identity = {key: entry[key] for key in ("digest", "model", "results", "benchmark", "incumbent_results") if entry[key]}
    page.section("Identity", "What this version is made of; each run can be verified against its manifest.").key_values(identity)
    page.section("Model card").details(CARD, card)
    return page


def _metrics(summary: Results) -> dict[str, Metric]:
    """Each dataset's own metric by mode, with its interval."""
    return {
        f"{s.dataset}/{s.mode}/{s.metric}": Metric(value=s.value, unit="share", low=s.low, high=s.high, n=s.n)
        for s in summary.scores
        if s.metric == summary.main[s.dataset]
    }
