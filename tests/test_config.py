"""The configuration tree: frozen, strict, every problem at once, path-free digests, cheap to import."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from uvrlab.config import Config, ConfigError, load_config, parse_config, parse_stage_config
from uvrlab.stages import STAGES


def _problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(None, overrides)
    return caught.value.problems


def test_a_config_cannot_be_changed_after_it_was_built():
    with pytest.raises(ValidationError):
        Config().sft.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize("override", ["sft.steps='3'", "sft.steps=3.5", "sft.learning_rate=.nan", "sft.learning_rate=.inf"])
def test_values_are_not_converted_silently(override):
    assert len(_problems(override)) == 1


def test_an_unknown_key_is_answered_with_the_nearest_known_one():
    assert _problems("sft.lerning_rate=1.0") == ["sft.lerning_rate: unknown key; did you mean 'learning_rate'?"]
    assert "known keys: run, profile, backbone" in _problems("zzz=1")[0]


def test_every_problem_is_reported_at_once():
    found = _problems("sft.steps=0", "ingest.media=zip", "evaluate.bootstrp=5", "run.seed=x")
    assert [problem.split(":")[0] for problem in found] == ["run.seed", "ingest.media", "sft.steps", "evaluate.bootstrp"]


def test_cross_field_rules_name_the_remedy():
    assert "set ingest.source.path=DIR" in _problems("ingest.source.kind=folder")[0]
    assert "must sum to 1" in _problems("synthesize.tasks={T2V: 0.5}")[0]
    assert "put speed or think first" in _problems("evaluate.modes=[auto, speed]")[0]
    assert "expected at least one, such as [speed]" in _problems("evaluate.modes=[]")[0]
    assert "name each once" in _problems("evaluate.modes=[speed, auto, auto]")[0]


@pytest.mark.parametrize("override", ["sft", "=3", "backbone.size=3", "sft.lora=[1"])
def test_a_malformed_override_is_a_config_error(override):
    assert override.split("=")[0].split(".")[0] in _problems(override)[0]


def test_numbers_may_be_written_as_everyone_writes_them():
    assert load_config(None, ["sft.learning_rate=1e-4"]).sft.learning_rate == 1e-4


def test_broken_files_are_config_errors(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    with pytest.raises(ConfigError, match="no recipe at"):
        load_config(recipe)
    recipe.write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match="expected a mapping"):
        load_config(recipe)
    recipe.write_text("sft: [1\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(recipe)


def test_overrides_win_over_the_file_and_may_open_an_empty_section(tmp_path):
    (tmp_path / "recipe.yaml").write_text("run: {seed: 3}\nsft:\n")
    config = load_config(tmp_path / "recipe.yaml", ["run.seed=4", "sft.steps=7"])
    assert (config.run.seed, config.sft.steps) == (4, 7)


def test_paths_devices_and_worker_counts_stay_out_of_every_digest():
    plain = load_config(None, ["ingest.source.kind=folder", "ingest.source.path=/here"])
    moved = load_config(
        None,
        [
            "ingest.source.kind=folder",
            "ingest.source.path=/there",
            "run.device=cuda",
            "run.workers=9",
            "register.registry_dir=/elsewhere",
            "evaluate.batch_size=3",
        ],
    )
    for stage in STAGES:
        assert plain.for_stage(stage).digest_view() == moved.for_stage(stage).digest_view()
    assert "/here" not in json.dumps(plain.for_stage("ingest").digest_view())


@given(seed=st.integers(0, 2**31), steps=st.integers(1, 10**6), share=st.floats(0, 1))
def test_every_other_value_enters_the_digest_of_its_own_stage_alone(seed, steps, share):
    base, other = Config(), parse_config({"sft": {"steps": steps, "warmup_share": share}, "run": {"seed": seed}})
    assert other.for_stage("sft").digest_view()["sft"]["steps"] == steps
    assert other.for_stage("sft").digest_view()["seed"] == seed
    assert other.for_stage("ingest").digest_view()["ingest"] == base.for_stage("ingest").digest_view()["ingest"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_config_survives_its_journey_as_text(stage):
    config = Config().for_stage(stage)
    assert parse_stage_config(config.model_dump_json(), stage) == config


def test_a_resolved_recipe_is_itself_a_recipe(tmp_path):
    (tmp_path / "resolved.json").write_text(Config().model_dump_json(by_alias=True))
    assert load_config(tmp_path / "resolved.json") == Config()


def test_importing_the_config_takes_under_a_third_of_a_second_and_loads_nothing_heavy(tmp_path):
    """CPU seconds, best of five, so with the bytecode that the first leaves, even where Python is told to leave none; a machine on
    which pydantic and yaml alone are slow is given 2.7 times their cost.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    code = (
        "import sys, time; start = time.process_time(); import pydantic, yaml; base = time.process_time() - start;"
        "import uvrlab.config; whole = time.process_time() - start;"
        "heavy = [m for m in ('torch', 'numpy', 'transformers', 'pyarrow', 'zenml', 'kfp', 'dvc') if m in sys.modules];"
        "print(whole / max(0.3, 2.7 * base), *heavy)"
    )
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split() for _ in range(5)]
    assert min(float(share) for share, *_ in runs) < 1
    assert all(not heavy for _, *heavy in runs)


def test_an_empty_recipe_is_the_vetted_one():
    assert parse_config({}) == Config() == load_config(None)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("curriculum.replay={generative: 0.6, grounding: 0.4}", "no step is left"),
        ("curriculum.weight_next_token=0", r"set replay\.grounding=0 as well"),
        ("curriculum.sigma=[0.0, 1.0]", "expected two numbers above 0"),
        ("curriculum.mining={first_rank: 5, last_rank: 4}", "1 <= first_rank <= last_rank"),
    ],
)
def test_a_curriculum_that_cannot_run_is_told_what_to_change(override, said):
    with pytest.raises(ConfigError, match=said):
        load_config(None, [override])


def test_a_prober_enters_the_digest_by_its_name_and_never_by_its_place(tmp_path):
    from uvrlab.listing import model_folders

    configs = [load_config(None, [f"curriculum.prober={tmp_path / place / 'gve'}"]) for place in ("here", "there")]
    views = [config.for_stage("curriculum").digest_view() for config in configs]
    assert views[0] == views[1] and views[0]["curriculum"]["prober"] == "gve"
    (tmp_path / "here" / "gve").mkdir(parents=True)
    assert model_folders(configs[0].for_stage("curriculum")) == {"curriculum.prober": str(tmp_path / "here" / "gve")}
