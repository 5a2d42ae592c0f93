"""Executes a compiled Kubeflow graph on this machine by `kfp.local`: the command lines of the pods, without the pods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from uvrlab.runs import RunDir
from uvrlab.stages import STAGES


def run_compiled(file: Path, root: Path, **arguments: Any) -> dict[str, RunDir]:
    """Run the pipeline in `file` with the given parameters; {stage: run directory}. Raises RuntimeError where a task fails.

    kfp's subprocess runner takes lightweight Python components only, since a container's image may not be this environment. Here
    it is: the check is lifted, and the very command line of each component runs.
    """
    import warnings

    from kfp import components, local
    from kfp.local.subprocess_task_handler import SubprocessTaskHandler

    warnings.filterwarnings("ignore", message=".*non-Python base image.*")
    check = SubprocessTaskHandler.validate_not_container_component
    SubprocessTaskHandler.validate_not_container_component = lambda *_: None
    root = root.resolve()
    known = set(root.glob("*"))
    try:
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)
        components.load_component_from_file(str(file))(**arguments)
    finally:
        SubprocessTaskHandler.validate_not_container_component = check
    (folder,) = set(root.glob("*")) - known
    return {name: RunDir(folder / name / "run") for name in STAGES if (folder / name / "run").is_dir()}
