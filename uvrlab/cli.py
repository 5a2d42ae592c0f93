"""The command `uvr`: parses arguments, calls the library, prints. Nothing is computed or slowly imported at the top."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uvrlab import logs, runs
from uvrlab.config import Config, ConfigError, load_config
from uvrlab.runs import RunDir, RunError, StageReport


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Exit status: 0 done, 1 a stage failed or a check found problems, 2 the command was wrong."""
    args = _parser().parse_args(argv)
    try:
        logs.setup()
        runs.stop_with_cause()
        return int(args.command(args) or 0)
    except ConfigError as error:
        print("\n".join(f"uvr: {problem}" for problem in error.problems), file=sys.stderr)
        return 2
    except (RunError, ValueError, FileNotFoundError) as error:
        print(f"uvr: {error}", file=sys.stderr)
        return 1


def _ls(_: argparse.Namespace) -> None:
    from uvrlab.stages import STAGES, graph

    for name, stage in STAGES.items():
        inputs = ", ".join(f"{label}{'?' if i.optional else ''}" for label, i in stage.inputs.items()) or "-"
        print(f"{name:<12} {inputs:<40} -> {', '.join(stage.kinds)}")
    print(f"\nprofile full: {' -> '.join(graph('full'))}")


def _check(args: argparse.Namespace) -> int:
    from uvrlab.check import problems

    config = load_config(args.config, args.set)
    found = problems(config)
    print("\n".join(found) if found else f"{args.config or 'the default recipe'}: no problems")
    return 1 if found else 0


def _run(args: argparse.Namespace) -> None:
    from uvrlab.stages import STAGES, run_stage

    if args.stage not in STAGES:
        raise RunError(f"unknown stage {args.stage!r}; expected one of {', '.join(STAGES)}")
    config = load_config(args.config, args.set).for_stage(args.stage)
    if args.dry_run:
        print(config.model_dump_json(indent=1))
        return
    report = run_stage(config, dict(args.inputs), args.out, force=args.force)
    if runs.process() == 0:
        _print_report(report, args.out)


def _demo(args: argparse.Namespace) -> None:
    from uvrlab.stages import run_graph

    config = load_config(args.config, args.set)
    if args.dry_run:
        print(config.model_dump_json(indent=1, by_alias=True))
        return
    reports = run_graph(config, args.out, on_stage=lambda report: _print_report(report, args.out / report.stage))
    print(summary(config, reports, args.out))


def summary(config: Config, reports: dict[str, StageReport], root: Path) -> str:
    """The closing table of a whole run: before and after, and where the time went."""
    from uvrlab.summary import closing_table

    return closing_table(config, reports, root)


def _verify(args: argparse.Namespace) -> None:
    from uvrlab.lineage import resolve_entry, verify_entry

    for path in args.dirs:
        if (path / "versions").is_dir() or path.resolve().parent.name == "versions":
            version = resolve_entry(path)
            for line in verify_entry(version, args.runs, args.public_key):
                print(line)
            print(f"{version}: the whole chain holds")
            continue
        run = RunDir(path)
        run.verify()
        print(f"{path}: {run.manifest.stage} run {run.digest[:16]}, {len(run.manifest.files)} files intact")


def _status(args: argparse.Namespace) -> int:
    told = {str(path): runs.state_of(path) for path in args.dirs}
    for path, state in told.items():
        cause = f"  {state['cause']}" if "cause" in state else ""
        print(f"{path}: {state['stage']} {state['state']}, last heard of {state['silent_s']:.0f} s ago{cause}")
    return int(any(state["state"] not in ("running", "done") for state in told.values()))


def _encode(args: argparse.Namespace) -> None:
    from uvrlab.search import encode_to_file

    print(json.dumps(encode_to_file(args.model, args.items, args.out, mode=args.mode, thinking=_thinking(args))))


def _thinking(args: argparse.Namespace) -> Any:
    """What the arguments say about sampled thoughts; nothing is loaded where none is made."""
    if args.mode == "speed":
        return None
    from uvrlab.models.modes import Thinking

    return Thinking(k=args.k_thoughts, consensus=args.consensus, seed=args.seed)


def _index(args: argparse.Namespace) -> None:
    from uvrlab.search_index import update_index

    print(json.dumps(update_index(args.index, model=args.model, add=args.add, remove=args.remove, think=args.think)))


def _search(args: argparse.Namespace) -> None:
    from uvrlab.search import answer, shown

    query = {"text": args.text, "image": args.image, "video": args.video, "audio": args.audio, "k": args.k}
    found = answer(args.index, **query, mode=args.mode, thinking=_thinking(args))
    readings = [shown(reading) for reading in found.readings]
    if args.json:
        print(json.dumps(found.hits if args.mode == "speed" else {"readings": readings, "hits": found.hits}, indent=1))
        return
    for reading in readings if args.mode != "speed" else ():
        print(f"read in mode {reading['mode']}: {reading['n_tokens']} tokens, {reading['milliseconds']:.0f} ms")
        print("\n".join(f"     {thought['text']}" for thought in reading["thoughts"]))
    for rank, hit in enumerate(found.hits, 1):
        print(f"{rank:>3}  {hit['score']:.4f}  {hit['start_s']:8.2f}-{hit['end_s']:.2f} s  {hit['video']}")


def _backbone_train(args: argparse.Namespace) -> None:
    from uvrlab.training.pretrain import train_backbone

    print(json.dumps(train_backbone(args.recipe, args.out, overrides=args.set), indent=1))


def _accept(args: argparse.Namespace) -> int:
    from uvrlab.models.accept import accept
    from uvrlab.training.accept import STEPS

    report = accept(args.backbone, device=args.device, stages=STEPS)
    print(json.dumps(report, indent=1))
    return 0 if report["accepted"] else 1


def _study(args: argparse.Namespace) -> None:
    from uvrlab.study import run_study

    print(run_study(args.config, args.out, max_minutes=args.max_minutes))


def _gate(args: argparse.Namespace) -> int:
    from uvrlab.gate import judge, load_policy
    from uvrlab.gate.show import power_text, verdict_text

    verdict = judge(args.candidate, args.incumbent, load_policy(args.policy), args.checks)
    if args.json:
        print(json.dumps(verdict.as_json() | {"digest": verdict.digest}, indent=1))
    else:
        print(power_text(verdict) if args.power else verdict_text(verdict))
    return verdict.exit_code if not args.power else 0 if verdict.headline else 2


def _diagnose(args: argparse.Namespace) -> None:
    from uvrlab.evaluation import diagnose_text, findings
    from uvrlab.evaluation.diagnose import diagnose
    from uvrlab.evaluation.score_tables import load

    table = load(args.results)
    if args.findings:
        found = findings.findings(table)
        print(json.dumps(findings.as_json(found), indent=1) if args.json else diagnose_text.findings_text(found, table.own))
        return
    if not args.results:
        raise ConfigError(["nothing to diagnose; add --results TABLE.csv or an evaluate run directory, or --findings"])
    diagnosis = diagnose(table, args.method, [name for name in args.models.split(",") if name])
    for note in diagnosis.notes if args.json else ():
        print(f"uvr: {note}", file=sys.stderr)
    print(json.dumps(diagnosis.as_json(), indent=1) if args.json else diagnose_text.diagnosis_text(diagnosis))


def _baselines(args: argparse.Namespace) -> None:
    from uvrlab.evaluation import baselines

    print(json.dumps(baselines.table(), indent=1) if args.json else baselines.table_text())


def _sign(args: argparse.Namespace) -> None:
    from uvrlab import signing

    private = args.key or signing.local_key()[0]
    print(f"{signing.sign(args.run, private)} by key {signing.fingerprint(signing.public_key(private))}")


def _promote(args: argparse.Namespace) -> int:
    from uvrlab.gate import Verdict, load_policy
    from uvrlab.gate.show import verdict_text
    from uvrlab.release import find_version, propose

    version = find_version(args.registry, args.entry).name
    told = propose(
        args.registry,
        version,
        load_policy(args.policy),
        incumbent_results=args.incumbent,
        checks=args.checks,
        override=args.override,
    )
    print(verdict_text(Verdict.model_validate(told)))
    if told["exit_code"] and args.override:
        print(f"{version[:12]} was promoted against the gate: {args.override}")
    return 0 if args.override else int(told["exit_code"])


def _rollback(args: argparse.Namespace) -> None:
    from uvrlab.release import rollback

    event = rollback(args.registry, args.reason)
    print(f"production is {event['version'][:12]} again, instead of {event['production'][:12]}")


def _lineage(args: argparse.Namespace) -> None:
    from uvrlab.lineage import resolve_entry
    from uvrlab.lineage_view import draw, trace_clip

    if args.clip:
        home = args.entry if (args.entry / "versions").is_dir() else args.entry.parent.parent
        print(json.dumps(trace_clip(home, args.clip, args.runs), indent=1))
    else:
        print(draw(resolve_entry(args.entry)))


def _gc(args: argparse.Namespace) -> None:
    from uvrlab.retention import collect

    gone = collect(args.registry, args.keep, args.runs, dry_run=args.dry_run)
    print("\n".join(f"{'would remove' if args.dry_run else 'removed'} {folder}" for folder in gone) or "nothing to remove")


def _print_report(report: StageReport, out: Path) -> None:
    numbers = "  ".join(_show(name, metric) for name, metric in report.metrics.items())
    print(f"{report.stage:<12} {report.digest[:12]}  {report.cost.get('seconds', 0):.1f} s  {numbers}")
    for warning in report.warnings:
        print(f"{'':<12} warning: {warning}")
    if (out / "report.html").exists():
        print(f"{'':<12} {out / 'report.html'}")


def _show(name: str, metric: Any) -> str:
    interval = f" [{metric.low:.3g}, {metric.high:.3g}]" if metric.low is not None else ""
    return f"{name} {metric.value:.4g}{interval} {metric.unit}"


def _named_dir(text: str) -> tuple[str, Path]:
    name, sign, path = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=DIR")
    return name, Path(path)


def _mode_arguments(parser: argparse.ArgumentParser, modes: Sequence[str]) -> None:
    told = "the plain vector, behind a thought, what several sampled thoughts agree on, or as the router decides"
    parser.add_argument("--mode", choices=modes, default="speed", help=told)
    parser.add_argument("--thoughts", dest="k_thoughts", type=int, default=8, metavar="K", help="of mode best_of_k")
    parser.add_argument("--consensus", choices=("medoid", "mean"), default="medoid", help="of mode best_of_k")
    parser.add_argument("--seed", type=int, default=0, help="of sampled thoughts")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="uvr", description="Universal video retrieval lab.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, text: str, recipe: bool = False) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=function)
        if recipe:
            sub.add_argument("--config", type=Path, help="a recipe, such as configs/demo.yaml (default: the built-in recipe)")
            sub.add_argument("--set", action="append", default=[], metavar="A.B=C", help="override one value")
        return sub

    command("ls", _ls, "list the stages, their inputs and outputs")
    command("check", _check, "report every problem of a recipe at once", recipe=True)
    run = command("run", _run, "run one stage", recipe=True)
    run.add_argument("stage")
    run.add_argument("--in", dest="inputs", action="append", default=[], type=_named_dir, metavar="NAME=DIR")
    run.add_argument("--out", type=Path, required=True)
    run.add_argument("--dry-run", action="store_true", help="print the resolved configuration and stop")
    run.add_argument("--force", action="store_true", help="run again even if the output is up to date")
    demo = command("demo", _demo, "run the whole pipeline into one folder", recipe=True)
    demo.add_argument("--out", type=Path, default=Path("runs"))
    demo.add_argument("--dry-run", action="store_true", help="print the resolved configuration and stop")
    verify = command("verify", _verify, "check run directories, or the whole chain behind a registry entry, offline")
    verify.add_argument("dirs", nargs="+", type=Path, metavar="RUN_OR_ENTRY", help="REGISTRY/NAME stands for production")
    verify.add_argument("--public-key", type=Path, help="the key that must have signed the model (default: the entry's own)")
    status = command("status", _status, "say how a stage is doing or what it died of; exit status 1 where one died")
    status.add_argument("dirs", nargs="+", type=Path, metavar="DIR")
    encode = command("encode", _encode, "embed items (a JSONL of text, image, video, audio) into a safetensors file")
    encode.add_argument("items", type=Path)
    encode.add_argument("--model", required=True)
    encode.add_argument("--out", type=Path, required=True)
    _mode_arguments(encode, ("speed", "think", "best_of_k"))
    index = command("index", _index, "create or change a search index over videos")
    index.add_argument("index", type=Path)
    index.add_argument("--model", help="folder of a model, ours or one as in evaluate.baselines; a new index needs it")
    index.add_argument("--add", action="append", default=[], metavar="VIDEO_OR_DIR")
    index.add_argument("--remove", action="append", default=[], metavar="VIDEO")
    index.add_argument("--think", action="store_true", help="a new index: hold gen vectors too, for every mode but speed")
    search = command("search", _search, "search an index with any mix of text, image, video and audio")
    search.add_argument("index", type=Path)
    for modality in ("text", "image", "video", "audio"):
        search.add_argument(f"--{modality}")
    search.add_argument("-k", type=int, default=10)
    search.add_argument("--json", action="store_true")
    _mode_arguments(search, ("speed", "think", "best_of_k", "auto"))
    backbone = command("backbone", _backbone_train, "train the nano backbone from scratch", recipe=False)
    backbone.add_argument("action", choices=["train"])
    backbone.add_argument("--recipe", type=Path)
    backbone.add_argument("--out", type=Path, required=True)
    backbone.add_argument("--set", action="append", default=[], metavar="A.B=C")
    accept = command("accept", _accept, "check a backbone on this machine, with one step of each training stage")
    accept.add_argument("--backbone", required=True)
    accept.add_argument("--device", choices=["cpu", "cuda", "auto"], default="auto")
    study = command("study", _study, "run the next missing cells of a study")
    study.add_argument("--config", type=Path, required=True)
    study.add_argument("--out", type=Path, default=Path("runs/study"))
    study.add_argument("--max-minutes", type=float)
    promote = command("promote", _promote, "gate a registered version against production and promote it; exit status as of gate")
    promote.add_argument("entry", metavar="VERSION", help="its digest, or the start of it")
    promote.add_argument("--incumbent", type=Path, metavar="RESULTS", help="fresh results of the model in production")
    promote.add_argument("--policy", type=Path)
    promote.add_argument("--checks", type=Path, metavar="DIR")
    promote.add_argument("--override", default="", metavar="REASON", help="promote whatever the gate says; the model card tells")
    rollback = command("rollback", _rollback, "put the version before the current one back into production")
    rollback.add_argument("--reason", default="")
    lineage = command("lineage", _lineage, "draw the chain behind a registry entry, or list what used a clip")
    lineage.add_argument("entry", nargs="?", type=Path, default=Path("registry/uvr"), metavar="ENTRY")
    lineage.add_argument("--clip", metavar="SHA256", help="of the media; the start of it will do")
    gc = command("gc", _gc, "remove versions, and with --runs finished runs, that no kept version needs")
    gc.add_argument("--keep", default="production,last=3", metavar="production,last=N")
    gc.add_argument("--dry-run", action="store_true")
    for sub in (verify, lineage, gc):
        sub.add_argument("--runs", action="append", default=[], type=Path, metavar="DIR", help="a folder to search for runs")
    for sub in (promote, rollback, gc):
        sub.add_argument("--registry", type=Path, default=Path("registry/uvr"), metavar="REGISTRY/NAME")
    sign = command("sign", _sign, "sign a model run, by default with this machine's key")
    sign.add_argument("run", type=Path)
    sign.add_argument("--key", type=Path, metavar="PRIVATE_KEY", help="PEM file of an elliptic curve key")
    gate = command("gate", _gate, "judge a candidate: 0 promoted or first, 1 blocked with reasons, 2 cannot judge")
    gate.add_argument("--candidate", type=Path, required=True, metavar="RESULTS", help="an evaluate run, or its files in a folder")
    gate.add_argument("--incumbent", type=Path, metavar="RESULTS", help="the same, or REGISTRY/NAME: production")
    gate.add_argument("--policy", type=Path, help="such as configs/gate.yaml (default: the built-in policy, which equals it)")
    gate.add_argument("--checks", type=Path, metavar="DIR", help="the validate run, where the candidate does not lead to it")
    gate.add_argument("--power", action="store_true", help="print n, standard error and smallest decidable margin of each slice")
    gate.add_argument("--json", action="store_true")
    diagnose = command("diagnose", _diagnose, "correlate abilities over models, and say what is weak and what to synthesise next")
    diagnose.add_argument("--results", action="append", default=[], metavar="TABLE", help="CSV or evaluate run; also NAME=RUN")
    diagnose.add_argument("--method", choices=["spearman", "pearson"], default="spearman")
    diagnose.add_argument("--models", default="", metavar="A,B", help="rows to use (default: all)")
    diagnose.add_argument("--findings", action="store_true", help="the published findings, recomputed, and ours beside them")
    diagnose.add_argument("--json", action="store_true")
    baselines = command("baselines", _baselines, "list the published baselines, and which of them can be loaded")
    baselines.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
