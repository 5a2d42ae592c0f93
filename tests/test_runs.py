"""Run directories: manifest last, digests that follow content alone, and a verify that finds each kind of tampering."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uvrlab import runs
from uvrlab.runs import RunDir, RunError

CONFIG = {"seed": 3, "backbone": "nano-omni", "ingest": {"a": 1}}


def make_run(folder: Path, payload: str = "hello", config: dict = CONFIG) -> RunDir:
    """A finished run with a text file and a table of two rows."""
    runs.clear(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "text.txt").write_text(payload)
    pq.write_table(pa.table({"x": [1, 2]}), folder / "table.parquet")
    manifest = runs.seal(folder, stage="ingest", config=config, inputs={"clips": "ab"}, code="cd")
    runs.finish(folder, manifest)
    return RunDir(folder)


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_without_a_manifest_does_not_exist_for_the_next_stage(tmp_path):
    (tmp_path / "payload.txt").write_text("x")
    with pytest.raises(RunError, match="run its stage again"):
        RunDir(tmp_path)


def test_a_run_of_another_stage_is_refused(tmp_path):
    make_run(tmp_path / "a")
    with pytest.raises(RunError, match="expected 'sft'"):
        RunDir(tmp_path / "a", stage="sft")


def test_equal_content_gives_equal_digests_wherever_it_lies(tmp_path):
    assert make_run(tmp_path / "a").digest == make_run(tmp_path / "deep" / "b").digest


@pytest.mark.parametrize("change", [{"payload": "other"}, {"config": {**CONFIG, "seed": 4}}])
def test_other_content_or_config_gives_another_digest(tmp_path, change):
    assert make_run(tmp_path / "a").digest != make_run(tmp_path / "b", **change).digest


def test_status_cost_report_logs_and_rendered_pages_stay_outside_the_digest(tmp_path):
    run = make_run(tmp_path / "a")
    for name in ("status.json", "cost.json", "stage_report.json", "report.html", "logs/x.txt", "rendered/deep/page.html"):
        (run.path / name).parent.mkdir(exist_ok=True, parents=True)
        (run.path / name).write_text("anything")
    run.verify()
    again = runs.seal(run.path, stage="ingest", config=CONFIG, inputs={"clips": "ab"}, code="cd")
    assert again.digest == run.digest


def test_the_manifest_counts_the_rows_of_tables(tmp_path):
    rows = {f.path: f.rows for f in make_run(tmp_path / "a").manifest.files}
    assert rows == {"sub/text.txt": None, "table.parquet": 2}


TAMPERINGS = {
    "a flipped bit": lambda d: (d / "sub/text.txt").write_text("hellp"),
    "a cut table": lambda d: (d / "table.parquet").write_bytes((d / "table.parquet").read_bytes()[:-1]),
    "a missing file": lambda d: (d / "sub/text.txt").unlink(),
    "an added file": lambda d: (d / "extra.bin").write_bytes(b"1"),
    "a renamed file": lambda d: (d / "sub/text.txt").rename(d / "sub/text2.txt"),
    "another config": lambda d: _edit(d / "manifest.json", config={**CONFIG, "ingest": {"a": 2}}),
    "another seed": lambda d: _edit(d / "manifest.json", seed=9),
    "another stage": lambda d: _edit(d / "manifest.json", stage="sft"),
    "other inputs": lambda d: _edit(d / "manifest.json", inputs={"clips": "zz"}),
    "other code": lambda d: _edit(d / "manifest.json", code_digest="zz"),
    "another digest": lambda d: _edit(d / "manifest.json", digest="00"),
    "a file no longer listed": lambda d: _edit(
        d / "manifest.json", files=json.loads((d / "manifest.json").read_text())["files"][1:]
    ),
    "a wrong row count": lambda d: _edit(
        d / "manifest.json", files=[{**f, "rows": 7} for f in json.loads((d / "manifest.json").read_text())["files"]]
    ),
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS)
def test_verify_finds(tmp_path, tamper):
    run = make_run(tmp_path / "a")
    run.verify()
    tamper(run.path)
    with pytest.raises(RunError):
        RunDir(run.path).verify()


@given(st.dictionaries(st.text("ab/", min_size=1, max_size=3), st.integers()), st.integers(0, 9))
def test_a_run_key_does_not_depend_on_the_order_of_keys(config, seed):
    config = {**config, "seed": seed}
    backwards = dict(reversed(list(config.items())))
    assert runs.run_key(config, {"a": "1", "b": "2"}, "c") == runs.run_key(backwards, {"b": "2", "a": "1"}, "c")


def test_a_digest_refuses_what_json_cannot_say():
    with pytest.raises(ValueError, match="JSON"):
        runs.digest_json({"x": float("nan")})


def test_clear_empties_a_run_but_refuses_a_folder_that_no_stage_wrote(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "holiday.mp4").write_bytes(b"irreplaceable")
    with pytest.raises(RunError, match="choose another --out"):
        runs.clear(videos)
    assert (videos / "holiday.mp4").read_bytes() == b"irreplaceable"
    run = make_run(tmp_path / "a")
    runs.clear(run.path)
    assert [p.name for p in run.path.iterdir()] == ["status.json"]


def test_a_kill_at_any_point_of_clear_leaves_neither_a_false_run_nor_a_foreign_folder(tmp_path, monkeypatch):
    run = make_run(tmp_path / "a")
    monkeypatch.setattr(shutil, "rmtree", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        runs.clear(run.path)
    monkeypatch.undo()
    with pytest.raises(RunError, match=r"no manifest\.json"):
        RunDir(run.path)
    make_run(tmp_path / "a").verify()


def test_a_reader_never_sees_half_a_json_file(tmp_path):
    runs.write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        runs.write_json(tmp_path / "x.json", {"a": object()})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_failed_stage_leaves_its_cause_of_death(tmp_path):
    with pytest.raises(ZeroDivisionError), runs.Heartbeat(tmp_path, "sft"):
        raise ZeroDivisionError("oops")
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["cause"], status["stage"]) == ("failed", "ZeroDivisionError: oops", "sft")


HOLD = (
    "import sys, time; from pathlib import Path; from uvrlab import runs\n"
    "with runs.lock(Path(sys.argv[1])): print('held', flush=True); {}"
)


def test_of_two_processes_on_one_folder_one_is_refused_and_a_dead_holder_leaves_no_lock(tmp_path):
    script = HOLD.format("time.sleep(60)")
    holder = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    with pytest.raises(RunError, match="another process"), runs.lock(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with runs.lock(tmp_path):
        pass


def test_a_forked_worker_that_outlives_its_parent_does_not_keep_the_lock(tmp_path):
    with runs.lock(tmp_path):
        worker = multiprocessing.get_context("fork").Process(target=multiprocessing.Event().wait, args=(60,), daemon=True)
        worker.start()
    check = subprocess.run([sys.executable, "-c", HOLD.format("pass"), tmp_path], capture_output=True, text=True)
    worker.kill()
    assert check.stdout == "held\n"


def test_sources_are_read_without_caches_and_an_absent_one_is_named():
    files = runs.source_files(("data", "runs.py"))
    assert runs.PACKAGE_ROOT / "runs.py" in files and not [f for f in files if f.suffix == ".pyc"]
    with pytest.raises(RunError, match="nowhere"):
        runs.source_files(("nowhere",))
