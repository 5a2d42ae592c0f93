"""Who may import whom, read from the sources themselves; and which libraries only the adapters may touch."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from uvrlab.runs import source_files
from uvrlab.stages import STAGES

REPO = Path(__file__).resolve().parents[1]
PACKAGE = REPO / "uvrlab"
# A module belongs to the longest prefix that matches it, and may import its own layer and those above it in this list.
LAYERS = [
    (
        "config",
        "runs",
        "upstream",
        "launch",
        "listing",
        "logs",
        "progress",
        "report",
        "report_blocks",
        "report_style",
        "plots",
        "data.schema",
        "evaluation.metrics",
    ),
    ("data", "losses", "rewards"),
    ("models",),
    ("synthesis", "validation", "training", "evaluation"),
    ("registry", "gate", "signing", "promotions", "release", "retention", "lineage", "card", "search"),
    ("stages", "check"),
    ("study", "summary"),
    ("cli",),
]
RANK = {prefix: rank for rank, prefixes in enumerate(LAYERS) for prefix in prefixes}
NEVER = [("training", "evaluation"), ("evaluation", "training"), ("rewards", "losses")]
ENGINES = {"zenml", "kfp", "dvc", "steps", "pipelines", "materializers"}


def _owner(module: str) -> str | None:
    parts = module.split(".")
    parts[0] = parts[0].removesuffix("_" + parts[0].partition("_")[2])  # report_blocks, report_style: parts of report
    return next((p for n in range(len(parts), 0, -1) if (p := ".".join(parts[:n])) in RANK), None)


def _imports(file: Path, top_level_only: bool = False) -> Iterator[tuple[int, str]]:
    tree = ast.parse(file.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import; write the full name"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _modules() -> list[tuple[str, Path]]:
    files = [f for f in sorted(PACKAGE.rglob("*.py")) if f.name != "__init__.py"]
    return [(f.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."), f) for f in files]


def test_every_module_has_a_layer():
    assert [name for name, _ in _modules() if _owner(name) is None] == []


def test_no_module_imports_from_a_later_layer():
    wrong = []
    for name, file in _modules():
        own = _owner(name)
        for line, target in _imports(file):
            other = _owner(target.removeprefix("uvrlab.")) if target.startswith("uvrlab.") else None
            if own and other and (RANK[other] > RANK[own] or (own.split(".")[0], other) in NEVER):
                wrong.append(f"{file.relative_to(REPO)}:{line} imports {target}")
    assert wrong == []


PLUMBING = {"config", "runs", "upstream", "listing", "progress", "report", "plots", "stages"}


def _reaches(module: str, seen: set[str]) -> set[str]:
    """The library modules that `module` imports, however far, plumbing left out."""
    file = PACKAGE / (module.replace(".", "/") + ".py")
    package = PACKAGE / module.replace(".", "/") / "__init__.py"
    if package.exists() and any(_imports(package)):
        file, module = package, f"{module}.__init__"
    if module in seen or _owner(module) in PLUMBING or not file.exists():
        return seen
    seen.add(module)
    for _, target in _imports(file):
        name = target.removeprefix("uvrlab.")
        if target.startswith("uvrlab."):
            _reaches(name, seen)
            _reaches(name.rpartition(".")[0], seen)
    return seen


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_the_sources_of_a_stage_hold_every_module_that_it_imports(stage):
    """Otherwise a change there would leave the caches of all three engines standing."""
    module = stage.target.partition(":")[0].removeprefix("uvrlab.")
    covered = {f.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".") for f in source_files(stage.sources)}
    assert sorted(_reaches(module, set()) - covered) == []


def test_the_library_imports_no_engine_and_no_adapter():
    wrong = [f"{f}:{line} {t}" for _, f in _modules() for line, t in _imports(f) if t.split(".")[0] in ENGINES]
    assert wrong == []


def test_steps_do_not_import_pipelines():
    files = [*(REPO / "steps").rglob("*.py"), *(REPO / "materializers").rglob("*.py")]
    assert files
    assert [(f, line) for f in files for line, target in _imports(f) if target.split(".")[0] in ("pipelines", "kfp", "dvc")] == []


@pytest.mark.parametrize("module", ["uvrlab.cli", "uvrlab.stages", "uvrlab.registry", "uvrlab.card"])
def test_what_the_command_line_imports_first_loads_nothing_slow(module):
    import subprocess

    slow = ("torch", "transformers", "great_expectations", "evidently", "zenml", "faiss", "trl", "ray", "datasets")
    code = f"import sys, {module}; print([m for m in {slow} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_rewards_are_plain_functions_without_torch():
    files = (PACKAGE / "rewards").rglob("*.py")
    assert [f for f in files for _, target in _imports(f) if target.split(".")[0] == "torch"] == []


def test_nothing_in_the_library_unpickles_or_trusts_remote_code():
    banned = ("pickle", "cloudpickle", "dill", "joblib", "shelve")
    assert [f"{f}:{line}" for _, f in _modules() for line, t in _imports(f) if t.split(".")[0] in banned] == []
    for _, file in _modules():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("torch.load"):
                assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), file
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert ast.unparse(node.value) == "False", file


def test_only_the_command_line_prints():
    printing = []
    for name, file in _modules():
        calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
        printing += [f"{file}:{c.lineno}" for c in calls if name != "cli" and ast.unparse(c.func) == "print"]
    assert printing == []
