"""The stage `register`: a model with its results and card becomes an immutable version in the registry directory.

The directory is the truth, for every engine: `<registry>/<name>/versions/<digest>/` holds the signed `model/`, `results/`, the
manifests of all runs before them in `lineage/`, `signer.pem`, `README.md` and, written last, `entry.json`; a version appears by one
rename, whole or not at all. The gate then judges it against production (release.py); whatever it says, the version stays
registered. `versions.json` is a listing and can be rebuilt. Registering the same runs again changes nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uvrlab import promotions, runs, signing, upstream
from uvrlab.card import fixed_part, write_card
from uvrlab.config import RegisterConfig, StageConfig
from uvrlab.evaluation import results as results_file
from uvrlab.evaluation.results import Results, is_bound
from uvrlab.report import Report
from uvrlab.runs import Metric, RunDir, RunError, StageReport

ENTRY_SCHEMA = 2
ENTRY, CARD, LISTING, WHEN, SIGNER = "entry.json", "README.md", "versions.json", "registered.json", "signer.pem"


def run(config: StageConfig[RegisterConfig], inputs: Mapping[str, Path], out: Path) -> StageReport:
    """Register `inputs["model"]` with the results that judged it, and promote it where the gate lets it pass.

    Writes the entry and the card into `out` too, so that the run directory tells what was registered without the registry; the
    verdict depends on what was in production and lies in `logs/`. Raises RunError where the two do not belong together, or the
    model is not signed as the recipe demands.
    """
    from uvrlab.gate import load_policy
    from uvrlab.release import propose

    own, incumbent = config.own, inputs.get("incumbent_results")
    policy = load_policy(own.policy)
    model, results = RunDir(inputs["model"]), RunDir(inputs["results"])
    for opened in (model, results):
        opened.verify()
    summary = _matching(model, results)
    key = _admit(model.path, own.public_key)
    home = own.registry_dir / own.name
    with promotions.locked(home):
        promotions.settle(home)
        version = _store(home, _entry(own.name, model, results, summary, incumbent), model, results, summary, key)
        write_listing(home)
    verdict = propose(home, version.name, policy, incumbent_results=incumbent)
    shutil.copyfile(version / ENTRY, out / ENTRY)
    (out / CARD).write_text(fixed_part((version / CARD).read_text()))
    (out / "logs").mkdir(exist_ok=True)
    runs.write_json(out / "logs" / "verdict.json", verdict)
    report = StageReport(stage="register", metrics=_metrics(summary), counts={"versions": len(versions(home))})
    if verdict["exit_code"]:
        report.warnings.append(f"registered, not promoted: {verdict['verdict']}: {'; '.join(verdict['reasons'][:2])}")
    report.page = _page(json.loads((version / ENTRY).read_text()), report, verdict, (out / CARD).read_text())
    return report


def versions(home: Path) -> list[dict[str, Any]]:
    """Every complete version of a model name, oldest first, each with where the last decision on it left it as `verdict`."""
    log = promotions.events(home)
    found = [
        {**json.loads(file.read_text()), **json.loads((file.parent / WHEN).read_text())}
        for file in (home / "versions").glob(f"[!.]*/{ENTRY}")
    ]
    ordered = sorted(found, key=lambda entry: (entry["registered_unix_s"], entry["digest"]))
    return [{**entry, "verdict": promotions.standing(log, entry["digest"])} for entry in ordered]


def write_listing(home: Path) -> None:
    """Rebuild `versions.json`: the newest version, the one in production, and a line on each."""
    entries = versions(home)
    keys = ("digest", "model", "results", "benchmark", "verdict", "headline", "registered_unix_s")
    latest = entries[-1]["digest"] if entries else None
    lines = [{k: e[k] for k in keys} for e in entries]
    runs.write_json(home / LISTING, {"latest": latest, "production": promotions.production(home), "versions": lines})


def verify_version(version: Path) -> None:
    """Raise RunError naming the first file of a registered version that is missing or altered, or its broken signature."""
    entry = read_entry(version)
    for name in ("model", "results"):
        stored = RunDir(version / name)
        stored.verify()
        if stored.digest != entry[name]:
            raise RunError(f"{version / name}: found run {stored.digest[:12]}, expected {entry[name][:12]}; register it again")
    if runs.sha256_bytes(fixed_part((version / CARD).read_text()).encode()) != entry["card_sha256"]:
        raise RunError(f"{version / CARD} was altered; register the model again")
    signing.verify(version / "model", version / SIGNER)


def read_entry(version: Path) -> dict[str, Any]:
    """The entry of a version. Raises RunError where it does not prove itself."""
    if not (version / ENTRY).is_file():
        raise RunError(f"{version} has no {ENTRY}; expected a registered version")
    try:
        entry = runs.read_exact(version / ENTRY)
        intact = entry["digest"] == version.name == _digest(entry) and entry["seal"] == _seal(entry)
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise RunError(f"{version / ENTRY} was altered: its digest does not follow from its fields; register the runs again")
    return entry


def _admit(model: Path, public: Path | None) -> Path:
    """The public key under which the model's signature holds, or will. Refuses what the recipe's key did not sign."""
    key = public or signing.local_key()[1]
    if public or (model / runs.SIGNATURE).is_file():
        signing.verify(model, key)
    return key


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
        "links": upstream.links(model.path, results.path),
    }
    return {**entry, "digest": _digest(entry)}


def _seal(entry: Mapping[str, Any]) -> str:
    """sha256 over everything else that the entry says."""
    return runs.digest_json({key: value for key, value in entry.items() if key != "seal"})


def _digest(entry: Mapping[str, Any]) -> str:
    """sha256 over what identifies a version, its name and its runs; versions of packages and the card only describe it."""
    return runs.digest_json({key: entry[key] for key in ("schema", "name", "model", "results", "incumbent_results")})


def _store(home: Path, entry: dict[str, Any], model: RunDir, results: RunDir, summary: Results, key: Path) -> Path:
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
    upstream.carry(partial, {"model": model.path, "results": results.path})
    if not (partial / "model" / runs.SIGNATURE).is_file():
        signing.sign(partial / "model")
    shutil.copyfile(key, partial / SIGNER)
    write_card(partial / CARD, name=entry["name"], model=model, results=results, summary=summary)
    runs.write_json(partial / WHEN, {"registered_unix_s": round(time.time(), 3)})
    entry = {**entry, "card_sha256": runs.sha256_file(partial / CARD)}
    runs.write_json(partial / ENTRY, {**entry, "seal": _seal(entry)})
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


def _page(entry: dict[str, Any], report: StageReport, verdict: Mapping[str, Any], card: str) -> Report:
    page = Report(f"Registered: {entry['name']} {entry['digest'][:12]}", f"verdict {verdict['verdict']}, seed {entry['seed']}")
    page.section("Scores").headline(report.metrics)
    reasons = {str(number): reason for number, reason in enumerate((*verdict["reasons"], *verdict["warnings"]), 1)}
    policy = {"verdict": verdict["verdict"], "policy": verdict["policy_digest"]}
    page.section("Gate", "Against the version in production; errors before scores.").key_values(policy | reasons)
    identity = {key: entry[key] for key in ("digest", "model", "results", "benchmark", "incumbent_results") if entry[key]}
    page.section("Identity", "What this version is made of; each run can be verified against its manifest.").key_values(identity)
    page.section("Model card").details(CARD, card)
    return page


def _metrics(summary: Results) -> dict[str, Metric]:
    """Each dataset's own metric by mode, with its interval; bounds are no scores of the model."""
    return {
        f"{s.dataset}/{s.mode}/{s.metric}": Metric(value=s.value, unit="share", low=s.low, high=s.high, n=s.n)
        for s in summary.scores
        if s.metric == summary.main[s.dataset] and not is_bound(s.mode)
    }
