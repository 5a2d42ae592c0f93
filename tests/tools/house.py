"""A copy of the project whose stages take milliseconds: what the engine tests run, edit and damage.

The adapters, the table, the runner and the registry are the real ones; only the code behind the other stages is replaced, at the
very paths that `STAGES` names, so that an edit of a library file means in the copy what it means in the project.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from uvrlab.stages import STAGES

REPO = Path(__file__).resolve().parents[2]
PARTS = ("uvrlab", "steps", "pipelines", "materializers", "configs")

STAGE = '''"""A stage of milliseconds: its payload follows from its configuration, its inputs and what its source folder holds."""
from pathlib import Path

from uvrlab.runs import Metric, StageReport


def run(config, inputs, out):
    with Path("calls.txt").open("a") as calls:
        calls.write(config.stage + "\\n")
    read = [f"{name} {(path / 'payload.txt').read_text()}" for name, path in sorted(inputs.items())]
    source = getattr(getattr(config.own, "source", None), "path", None)
    read += [f"{f.name} {f.read_text()}" for f in sorted(Path(source).iterdir())] if source else []
    (out / "payload.txt").write_text(f"{config.digest_view()} {read}")
    (out / "report.html").write_text(f"<h1>{config.stage}</h1>")
    return StageReport(stage=config.stage, metrics={"lines": Metric(value=len(read), unit="lines")})
'''

EVALUATE = (
    STAGE.replace("def run", "def _run")
    + """

def run(config, inputs, out):
    from uvrlab.evaluation import results
    from uvrlab.runs import RunDir

    report = _run(config, inputs, out)
    row = {"dataset": "world", "ability": "CG", "mode": "disc", "metric": "R@1", "model_digest": RunDir(inputs["model"]).digest}
    row |= {"benchmark_digest": "b" * 64, "first_relevant_rank": 1, "top_ids": [], "n_candidates": 4, "n_tokens": 0}
    rows = [{**row, "query_id": f"q{i}", "value": float(i < 2), "latency_ms": 0.0} for i in range(4)]
    results.write(out, results.summarise(rows, chances={("world", "R@1"): 0.25}, seed=0, bootstrap=20))
    return report
"""
)


def copy(folder: Path, *left_out: str) -> Path:
    """A copy of the project under git and DVC, with its real stages."""
    for part in PARTS:
        shutil.copytree(REPO / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", *left_out))
    for file in (".dvc/config", ".dvcignore"):
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(REPO / file, folder / file)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def build(folder: Path) -> Path:
    """Make the copy in `folder`, with a recipe `configs/tiny.yaml` that fits it."""
    copy(folder, "assets")
    (folder / "uvrlab" / "assets").mkdir(exist_ok=True)
    (folder / "uvrlab" / "assets" / "weights.txt").write_text("stand-in")
    for name, stage in STAGES.items():
        if name != "register":
            module = folder / (stage.target.partition(":")[0].replace(".", "/") + ".py")
            module.write_text(EVALUATE if name == "evaluate" else STAGE)
    (folder / "configs" / "tiny.yaml").write_text("run: {seed: 7}\n")
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The variables under which commands in the copy use the copy's library and stores of its own."""
    return {
        **os.environ,
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": f"{Path(os.sys.executable).parent}:{os.environ['PATH']}",
        "UVR_WORK": str(folder / "work"),
        "UVR_HOME": str(folder / "home"),
        "ZENML_CONFIG_PATH": str(folder / "stores" / "config"),
        "ZENML_LOCAL_STORES_PATH": str(folder / "stores" / "local"),
        "ZENML_REPOSITORY_PATH": str(folder),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "DVC_NO_ANALYTICS": "1",
        "NO_COLOR": "1",
    }
