"""The Kubeflow Pipelines graph, compiled from `stages.graph(profile)`: one container component factory over the table.

`python -m pipelines.kubeflow --config configs/demo.yaml --image IMAGE --out pipeline.yaml` writes IR YAML that any KFP 2 cluster
runs. KFP's cache key holds neither the content of an input artifact nor the code in an image, so both come as arguments: the run
digest of each input, and the code digest of the stage. A task's cache key then says what a run key says.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from pipelines.kfp_knobs import knobs
from pipelines.kfp_pods import Cluster, needs, place
from uvrlab import runs
from uvrlab.config import Config, load_config
from uvrlab.listing import source_listing
from uvrlab.stages import STAGES, graph

TYPES = {"clips": dsl.Dataset, "benchmark": dsl.Dataset, "uvrd": dsl.Dataset, "model": dsl.Model, "entry": dsl.Model}
OUTPUTS = {"metrics": dsl.Metrics, "report": dsl.HTML, "summary": dsl.Markdown}
SHARED = {"device": str, "workers": int}


def artifact_type(kinds: Sequence[str]) -> type[dsl.Artifact]:
    """How the UI shows a run directory of these kinds."""
    return next((TYPES[kind] for kind in kinds if kind in TYPES), dsl.Artifact)


def component(name: str, config: Config, cluster: Cluster) -> Any:
    """The container component of one stage. Its arguments are all that its result depends on."""
    wiring, section = graph(config.profile)[name], config.section(name)
    takes: dict[str, Any] = {label: dsl.Input[artifact_type(STAGES[made].kinds)] for label, made in wiring.items()}
    takes |= {f"{label}_digest": str for label in wiring}
    takes |= {"recipe": str, "code": str, "listing": str, "overrides": str} | SHARED
    takes |= {shared: {"seed": int}.get(shared, str) for shared in section.reads}
    takes |= {f"set_{knob.name}": knob.type for knob in knobs(name, section)}
    gives = {"run": dsl.Output[artifact_type(STAGES[name].kinds)], "digest": dsl.OutputPath(str)}
    gives |= {label: dsl.Output[kind] for label, kind in OUTPUTS.items()}
    command = ["python3", "-m", "pipelines.kfp_task", name, "--processes", str(max(1, needs(name, config).gpus))]

    def container(**_: Any) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=cluster.image, command=command, args=["--executor-input", "{{$}}"])

    return dsl.container_component(_as(container, name, {**takes, **gives}))


def _as(function: Any, name: str, takes: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Any:
    """A function that KFP, which reads signatures, takes for one with these parameters in this order."""
    kind, defaults = inspect.Parameter.KEYWORD_ONLY, defaults or {}
    parameters = [
        inspect.Parameter(label, kind, annotation=t, default=defaults.get(label, inspect.Parameter.empty))
        for label, t in takes.items()
    ]

    def called(*values: Any) -> Any:  # KFP passes positions, the signature gives them their names
        return function(**dict(zip(takes, values, strict=True)))

    called.__name__ = name
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called


def parameters(config: Config) -> dict[str, Any]:
    """{pipeline parameter: default}: the shared values, and for each stage its knobs and a line of further overrides."""
    run = config.run
    found: dict[str, Any] = {"seed": run.seed, "backbone": config.backbone, "device": run.device, "workers": run.workers}
    for name in graph(config.profile):
        found |= {f"{name}_{knob.name}": knob.default for knob in knobs(name, config.section(name))}
        found[f"{name}_overrides"] = ""
    return found


def pipeline(config: Config, cluster: Cluster) -> Any:
    """The graph of a recipe's profile as a KFP pipeline."""

    def body(**given: Any) -> None:
        made: dict[str, Any] = {}
        for name, wiring in graph(config.profile).items():
            inputs = {label: made[producer].outputs["run"] for label, producer in wiring.items()}
            inputs |= {f"{label}_digest": made[producer].outputs["digest"] for label, producer in wiring.items()}
            inputs |= {f"set_{knob.name}": given[f"{name}_{knob.name}"] for knob in knobs(name, config.section(name))}
            inputs |= {shared: given[shared] for shared in (*SHARED, *config.section(name).reads)}
            made[name] = component(name, config, cluster)(
                **inputs, **_constants(name, config), overrides=given[f"{name}_overrides"]
            )
            made[name].set_caching_options(STAGES[name].cached)
            place(made[name], name, config, cluster)

    defaults = parameters(config)
    takes = {label: type(value) for label, value in defaults.items()}
    return dsl.pipeline(name=f"uvrlab-{config.profile}")(_as(body, "pipeline", takes, defaults))


def _constants(name: str, config: Config) -> dict[str, str]:
    """What a recompile may change and a rerun may not: the stage's recipe, its code, and its source folder where it can be seen."""
    resolved = config.for_stage(name)
    try:
        listing = source_listing(resolved)
    except FileNotFoundError:  # a folder that only the cluster sees
        listing = ""
    recipe = resolved.own.model_dump_json(by_alias=True)
    return {"recipe": recipe, "code": runs.code_digest(STAGES[name].sources), "listing": listing}


def compile_to(config: Config, cluster: Cluster, file: Path) -> None:
    """Write the compiled graph: the pipeline and its Kubernetes platform, two YAML documents."""
    file.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(pipeline(config, cluster), str(file))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pipelines.kubeflow", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--image", default=Cluster.image, help="by digest: KFP's cache key holds the image's name")
    parser.add_argument("--volume", default=Cluster.volume)
    parser.add_argument("--out", type=Path, default=Path("pipeline.yaml"))
    args = parser.parse_args()
    compile_to(load_config(args.config, args.set), Cluster(image=args.image, volume=args.volume), args.out)
