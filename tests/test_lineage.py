"""The chain from media to promotion: one flipped bit anywhere is found and named; and nothing that is needed is removed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.tools import chain
from uvrlab import lineage, promotions, registry, runs, upstream
from uvrlab.cli import main
from uvrlab.lineage import BrokenLink, verify_entry
from uvrlab.lineage_view import draw, trace_clip
from uvrlab.retention import collect, kept
from uvrlab.runs import RunDir, RunError

home, lab = chain.home, chain.lab  # fixtures


def _flip(file: Path, at: int | None = None) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1
    file.write_bytes(content)


def _broken(version: Path) -> str:
    with pytest.raises(BrokenLink) as broken:
        list(verify_entry(version))
    assert str(broken.value).startswith(f"broken link: {broken.value.link}: ")
    return broken.value.link


def test_a_whole_chain_holds_and_says_what_it_checked(lab, home, capsys):
    version = home / "versions" / lab("first")
    assert main(["verify", str(version)]) == 0
    said = capsys.readouterr().out
    for line in ("ingest", "synthesize", "validate", "sft", "evaluate"):
        assert f"{line} " in said
    assert "and 1 media files outside it" in said and "signature by key" in said and "promotion log, 1 lines" in said
    assert main(["verify", str(home)]) == 0
    assert main(["verify", str(home.parent)]) == 1


TAMPERING = {
    "media in a shard": ("ingest/media/shard-00000.tar", "media"),
    "media outside the run": ("raw/bell.mp4", "media"),
    "clips table": ("ingest/clips/part-00000.parquet", "clips table"),
    "benchmark table": ("ingest/benchmark/clips/part-00000.parquet", "benchmark table"),
    "UVRD table": ("synthesize/pairs/part-00000.parquet", "UVRD table"),
    "checks": ("validate/verdict.json", "checks"),
    "carried checks": ("VERSION/lineage/CHECKS/verdict.json", "checks"),
    "weights": ("VERSION/model/model/adapter_model.safetensors", "weights"),
    "results": ("VERSION/results/per_query.parquet", "results"),
    "summary of the results": ("VERSION/results/results.json", "results"),
    "signature": ("VERSION/model/model.sig", "signature"),
    "public key": ("VERSION/signer.pem", "signature"),
    "entry": ("VERSION/entry.json", "entry"),
    "card": ("VERSION/README.md", "model card"),
    "verdict": ("HOME/verdicts/VERDICT.json", "verdict"),
    "promotion log": ("HOME/promotions.jsonl", "promotion log"),
    "production pointer": ("HOME/production.json", "production pointer"),
}


def _place(path: str, tmp_path: Path, home: Path, version: Path) -> Path:
    named = {"VERSION": str(version), "HOME": str(home), "VERDICT": promotions.events(home)[-1]["verdict_digest"]}
    named["CHECKS"] = RunDir(tmp_path / "validate").digest
    for name, value in named.items():
        path = path.replace(name, value)
    return tmp_path / path


@pytest.mark.parametrize(("path", "link"), TAMPERING.values(), ids=TAMPERING)
def test_one_flipped_bit_is_found_and_named(tmp_path, lab, home, path, link):
    version = home / "versions" / lab("first")
    _flip(_place(path, tmp_path, home, version))
    assert _broken(version) == link


@pytest.mark.parametrize("where", ["VERSION/lineage/RUN", "VERSION/model", "VERSION/results/lineage/RUN"])
@pytest.mark.parametrize(
    ("before", "after", "part"),
    [('"steps": 7', '"steps": 3', "config"), ('"code of sft"', '"code of sfu"', "code"), ('"seed": 5,', '"seed": 4,', "manifest")],
)
def test_an_altered_manifest_is_named_by_its_part(tmp_path, lab, home, where, before, after, part):
    version = home / "versions" / lab("first")
    folder = Path(where.replace("VERSION", str(version)).replace("RUN", RunDir(tmp_path / "first" / "sft").digest))
    text = (folder / "manifest.json").read_text()
    at = text.rfind(before) if part == "manifest" else text.find(before)
    (folder / "manifest.json").write_text(text[:at] + text[at:].replace(before, after, 1))
    assert _broken(version) == f"{part} of sft"


@pytest.mark.parametrize("where", ["VERSION/lineage/RUN", "VERSION/model", "first/sft"])
def test_a_bit_that_changes_no_value_is_found_too(tmp_path, lab, home, where):
    """The bit between `e` and `E` in a learning rate of 1e-05."""
    version = home / "versions" / lab("first")
    run = RunDir(tmp_path / "first" / "sft").digest
    file = tmp_path / where.replace("VERSION", str(version)).replace("RUN", run) / "manifest.json"
    _flip_case(file, file.read_bytes().index(b"e-05"))
    assert _broken(version) == "manifest of sft"
    if "lineage" not in where:
        with pytest.raises(RunError, match="was altered"):
            RunDir(file.parent).verify()


def _flip_case(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 0x20
    file.write_bytes(content)


def test_every_bit_of_a_verdict_an_entry_and_the_pointer_counts(lab, home):
    version = home / "versions" / lab("first")
    verdict = home / "verdicts" / f"{promotions.events(home)[-1]['verdict_digest']}.json"
    readers = {
        verdict: lambda: promotions.read_verdict(home, verdict.stem),
        version / "entry.json": lambda: registry.read_entry(version),
        home / "production.json": lambda: lineage._check_pointer(home, promotions.events(home)),
    }
    for file, read in readers.items():
        whole = file.read_bytes()
        for at in range(0, len(whole), 3):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
            with pytest.raises(RunError):
                read()
        file.write_bytes(whole)
        read()


def test_a_config_changed_with_its_digests_still_breaks_the_chain(tmp_path, lab, home):
    """Someone who recomputes the run digest, its entry and the seal has no key, and the log knows another version."""
    version = home / "versions" / lab("first")
    stored = version / "model"
    m = RunDir(stored).manifest
    config = {**m.config, "sft": {"steps": 3}}
    runs.finish(stored, runs.seal(stored, stage="sft", config=config, inputs=m.inputs, code=m.code_digest))
    assert _broken(version) == "config of sft"


def test_every_bit_of_the_log_counts(lab, home):
    version = home / "versions" / lab("first")
    log = home / promotions.LOG
    whole = log.read_bytes()
    for at in range(0, len(whole) - 1, 7):
        _flip(log, at)
        with pytest.raises(RunError, match="hash chain breaks"):
            promotions.events(home)
        log.write_bytes(whole)
    _flip(log, len(whole) - 1)
    assert _broken(version) == "promotion log"
    log.write_bytes(b"")
    assert _broken(version) == "promotion log"


def test_a_log_that_lost_its_last_lines_is_not_taken_for_a_torn_one(lab, home):
    """A kill tears a line before the pointer is written, never after: the next command must not settle on the shorter log."""
    first, equal = lab("first"), lab("equal")
    whole = (home / promotions.LOG).read_bytes()
    for shorter in (whole[: whole.rstrip().rfind(b"\n") + 1], whole[:-1]):
        (home / promotions.LOG).write_bytes(shorter)
        assert _broken(home / "versions" / first) == "promotion log"
        assert main(["promote", equal, "--registry", str(home), "--override", "x"]) == 1
        assert (home / promotions.LOG).read_bytes() == shorter


def test_data_that_is_gone_is_said_and_not_counted_as_proven(tmp_path, lab, home):
    version = home / "versions" / lab("first")
    shutil.move(tmp_path / "synthesize", tmp_path / "archive" / "synthesize")
    (line,) = [line for line in verify_entry(version) if line.startswith("synthesize")]
    assert "its 2 files are not at hand" in line
    (line,) = [line for line in verify_entry(version, [tmp_path / "archive"]) if line.startswith("synthesize")]
    assert line.endswith("2 files hold")


def test_another_public_key_does_not_vouch(tmp_path, lab, home, monkeypatch):
    from uvrlab import signing

    version = home / "versions" / lab("first")
    monkeypatch.setenv("UVR_HOME", str(tmp_path / "stranger"))
    with pytest.raises(BrokenLink, match="signature"):
        list(verify_entry(version, public_key=signing.local_key()[1]))


def test_a_recipe_with_a_public_key_refuses_unsigned_and_altered_models(tmp_path, lab, home, monkeypatch):
    from uvrlab import signing
    from uvrlab.config import load_config
    from uvrlab.stages import run_stage

    team = signing.local_key()
    monkeypatch.setenv("UVR_HOME", str(tmp_path / "other-machine"))
    made = chain.model(tmp_path, {s: tmp_path / s for s in ("ingest", "synthesize", "validate")}, "signed")
    config = load_config(None, [f"register.registry_dir={tmp_path / 'registry'}", f"register.public_key={team[1]}"])
    inputs = {"model": made["sft"], "results": made["evaluate"]}
    with pytest.raises(RunError, match="is unsigned"):
        run_stage(config.for_stage("register"), inputs, tmp_path / "out")
    signing.sign(made["sft"])  # by a stranger's key
    with pytest.raises(RunError, match="Key mismatch"):
        run_stage(config.for_stage("register"), inputs, tmp_path / "out")
    assert not (home / "versions").exists()
    signing.sign(made["sft"], team[0])
    run_stage(config.for_stage("register"), inputs, tmp_path / "out")
    assert len(list(verify_entry(home / "versions" / promotions.production(home), public_key=team[1]))) == 9


def test_the_tree_draws_every_run_and_every_decision(lab, home, capsys):
    version = home / "versions" / lab("first")
    told = draw(version)
    assert "promote by ada, verdict first" in told
    assert [told.count(f": {stage} ") for stage in ("evaluate", "sft", "validate", "synthesize", "ingest")] == [1, 2, 1, 2, 5]
    assert main(["lineage", str(home)]) == 0 and capsys.readouterr().out.strip() == told


def test_a_clip_leads_to_its_tables_models_and_promotions(tmp_path, lab, home, capsys):
    first = lab("first")
    bell, ball = (runs.sha256_file(tmp_path / f) for f in ("raw/bell.mp4", "ingest/media/shard-00000.tar"))
    told = trace_clip(home, bell)
    assert [(t["table"], t["rows"]) for t in told["tables"]] == [("clips", 1), ("pairs", 1)]
    assert [m["run"] for m in told["models"]] == [RunDir(tmp_path / "first" / "sft").digest]
    assert [(p["version"], p["uses"]) for p in told["promotions"]] == [(first, ["trained on it"])]
    told = trace_clip(home, ball)
    assert told["models"] == [] and told["promotions"][0]["uses"] == ["judged by it"]
    assert main(["lineage", str(home), "--clip", "0" * 64]) == 0
    assert json.loads(capsys.readouterr().out) == {"models": [], "promotions": [], "tables": [], "unknown": []}


def test_gc_keeps_what_production_a_rollback_and_the_last_ones_need(tmp_path, lab, home, capsys):
    digests = [lab(name, wins=wins) for name, wins in (("a", 0), ("b", 30), ("c", 60), ("d", 60), ("e", 61))]
    assert promotions.production(home) == digests[2]
    assert kept(home, "production") == set(digests[1:3])
    assert kept(home, "production,last=1") == {*digests[1:3], digests[4]}
    with pytest.raises(RunError, match=r"unknown rule 'all'; expected production and last=N"):
        kept(home, "all")
    (tmp_path / "unfinished").mkdir()
    would = collect(home, "production,last=1", [tmp_path], dry_run=True)
    assert main(["gc", "--keep", "production,last=1", "--registry", str(home), "--runs", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(would) == 2 + 2 * 3
    assert {p.name for p in (home / "versions").iterdir()} == {*digests[1:3], digests[4]}
    assert (tmp_path / "unfinished").is_dir() and not (tmp_path / "a" / "sft").exists()
    for digest in (*digests[1:3], digests[4]):
        assert "not at hand" not in "".join(verify_entry(home / "versions" / digest))
    assert main(["rollback", "--registry", str(home)]) == 0
    assert main(["rollback", "--registry", str(home)]) == 1
    assert "was removed, so it cannot be put back" in capsys.readouterr().err


def test_a_run_carries_its_chain_wherever_it_is_copied(tmp_path, lab):
    lab("first")
    copy = Path(shutil.copytree(tmp_path / "first" / "evaluate", tmp_path / "far" / "evaluate"))
    run = RunDir(copy)

    def walked() -> list[str]:
        known = upstream.carried(copy) | {run.digest: upstream.Link(run.manifest, copy)}
        return list(dict.fromkeys(link.manifest.stage for link in upstream.walk(run.digest, known, copy)))

    assert walked() == ["ingest", "synthesize", "validate", "sft", "evaluate"]
    shutil.rmtree(copy / "lineage" / RunDir(tmp_path / "synthesize").digest)
    with pytest.raises(RunError, match="carries no manifest of run"):
        walked()
