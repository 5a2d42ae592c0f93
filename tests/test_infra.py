"""The manifests are what a cluster takes: strictly valid, restricted, wired to each other, and made of commands that exist."""

from __future__ import annotations

import copy
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tools import manifests
from uvrlab.cli import _parser
from uvrlab.config import load_config
from uvrlab.stages import STAGES

REPO = Path(__file__).resolve().parents[1]
OVERLAYS = REPO / "infra" / "k8s" / "overlays"
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl, whose kustomize renders the overlays")
pytestmark = needs_kubectl


@pytest.fixture(scope="module")
def overlays() -> dict[str, list[dict[str, Any]]]:
    return {name: manifests.rendered(OVERLAYS / name) for name in ("cpu", "gpu")}


@pytest.fixture(scope="session")
def crds(shared) -> Path:
    return shared / "data" / "crds"


def _each_kind(overlays) -> dict[str, dict[str, Any]]:
    return {manifest["kind"]: manifest for part in overlays.values() for manifest in part}


def test_every_manifest_of_both_overlays_is_strictly_valid(overlays, crds):
    found = {(o, m["kind"], m["metadata"]["name"]): manifests.problems(m, crds) for o, part in overlays.items() for m in part}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert {kind for _, kind, _ in found} >= {"TrainJob", "TrainingRuntime", "RayJob", "ClusterQueue", "LocalQueue", "Deployment"}


def test_a_planted_mistake_in_each_kind_is_caught(overlays, crds):
    """One unknown field in every mapping of the body, one at a time, but for free-form ones (labels, selectors, quantities)."""
    for kind, manifest in _each_kind(overlays).items():
        body = {key: value for key, value in manifest.items() if key != "metadata"}
        places = [place for place in _mappings(body) if not {*place[-1:]} & FREE]
        assert places
        for place in places:
            planted = copy.deepcopy(manifest)
            _at(planted, place)["plantd"] = "x"
            assert manifests.problems(planted, crds), (kind, place)


def test_wrong_types_old_versions_and_unknown_kinds_are_caught_too(overlays, crds):
    kinds = _each_kind(overlays)
    for kind, path, value in [
        ("TrainJob", ("spec", "trainer", "numNodes"), "one"),
        ("ClusterQueue", ("spec", "queueingStrategy"), "Fifo"),
        ("RayJob", ("spec", "rayClusterSpec", "workerGroupSpecs", 0, "replicas"), "two"),
        ("Deployment", ("spec", "replicas"), "one"),
        ("Service", ("spec", "ports", 0, "port"), None),
    ]:
        planted = copy.deepcopy(kinds[kind])
        _at(planted, path[:-1])[path[-1]] = value
        assert manifests.problems(planted, crds), kind
    with pytest.raises(LookupError, match="deprecated"):
        manifests.problems({**kinds["ClusterQueue"], "apiVersion": "kueue.x-k8s.io/v1beta1"}, crds)
    with pytest.raises(LookupError, match="no definition"):
        manifests.problems({**kinds["TrainJob"], "kind": "TrainJobb"}, crds)


def _mappings(value: Any, at: tuple[Any, ...] = ()):
    if isinstance(value, dict):
        yield at
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _mappings(part, (*at, key))


FREE = {"labels", "annotations", "matchLabels", "nodeSelector", "nodeLabels", "limits", "requests", "rayStartParams", "selector"}


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def test_every_pod_meets_the_restricted_standard_and_holds_no_token(overlays):
    found = [(m["kind"], at, spec) for part in overlays.values() for m in part for at, _, spec in manifests.pods(m)]
    found = [(kind, at, spec) for kind, at, spec in found if "runtimePatches" not in at]
    assert len(found) >= 8
    for kind, at, spec in found:
        assert spec["automountServiceAccountToken"] is False and spec["serviceAccountName"] == "uvr", (kind, at)
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert all({"emptyDir", "persistentVolumeClaim"} & set(volume) for volume in spec.get("volumes", []))
        for container in (*spec["containers"], *spec.get("initContainers", [])):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False and context["capabilities"] == {"drop": ["ALL"]}, (kind, at)
            assert re.search(r"(:v?\d+\.\d+\.\d+|@sha256:[0-9a-f]{64})$", container["image"]), container["image"]


def test_namespace_enforces_the_restricted_standard(overlays):
    labels = _each_kind(overlays)["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_what_manifests_name_exists(overlays):
    """Volumes, queues, runtimes, accounts, flavors, and the labels that network policies select."""
    for part in overlays.values():
        names = {(m["kind"], m["metadata"]["name"]) for m in part}
        labels = [{**m.get("labels", {})} for manifest in part for _, m, _ in manifests.pods(manifest)]
        for manifest in part:
            queue = manifest["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name")
            assert queue is None or ("LocalQueue", queue) in names
            for _, _, spec in manifests.pods(manifest):
                claims = [v["persistentVolumeClaim"]["claimName"] for v in spec.get("volumes", []) if "persistentVolumeClaim" in v]
                mounts = {m["name"] for c in spec["containers"] for m in c.get("volumeMounts", [])}
                assert all(("PersistentVolumeClaim", claim) in names for claim in claims)
                assert mounts <= {v["name"] for v in spec.get("volumes", [])}
            if manifest["kind"] == "TrainJob":
                assert (manifest["spec"]["runtimeRef"]["kind"], manifest["spec"]["runtimeRef"]["name"]) in names
            if manifest["kind"] == "ClusterQueue":
                flavors = [f["name"] for g in manifest["spec"]["resourceGroups"] for f in g["flavors"]]
                assert all(("ResourceFlavor", flavor) in names for flavor in flavors)
            if manifest["kind"] == "NetworkPolicy" and (wanted := manifest["spec"]["podSelector"].get("matchLabels")):
                assert any(wanted.items() <= have.items() for have in labels), manifest["metadata"]["name"]


def test_only_captioners_and_judges_reach_the_omni_server(overlays):
    (policy,) = [m for m in overlays["gpu"] if m["kind"] == "NetworkPolicy" and m["metadata"]["name"] == "omni"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"] and "egress" not in policy["spec"]
    (rule,) = policy["spec"]["ingress"]
    assert [p["podSelector"]["matchLabels"] for p in rule["from"]] == [{"uvrlab/calls-omni": "true"}] * 2
    assert not [m for m in overlays["cpu"] if m["kind"] == "Deployment"]


def test_training_asks_for_what_the_table_says(overlays):
    job = next(m for m in overlays["gpu"] if m["kind"] == "TrainJob")["spec"]["trainer"]
    row = STAGES[job["args"][1]].resources
    wanted = {"cpu": row.cpu, "memory": f"{row.memory_gib}Gi", "nvidia.com/gpu": row.gpus}
    assert job["resourcesPerNode"] == {"requests": wanted, "limits": wanted} and job["numProcPerNode"] == row.gpus


def test_the_commands_of_jobs_are_commands_of_uvr(overlays):
    """Each parses, names a stage and its required inputs, and its recipe, which the image holds under /app, loads."""
    for part in overlays.values():
        ray, train = (next(m for m in part if m["kind"] == kind)["spec"] for kind in ("RayJob", "TrainJob"))
        assert train["trainer"]["command"] == ["torchrun", "-m", "uvrlab.cli"]
        for words in (shlex.split(ray["entrypoint"])[3:], train["trainer"]["args"]):
            args = _parser().parse_args(words)
            assert args.stage in STAGES
            assert {name for name, _ in args.inputs} == {n for n, i in STAGES[args.stage].inputs.items() if not i.optional}
            load_config(REPO / args.config.relative_to("/app"), [*args.set, "ingest.source.path=/var/uvr/videos"])


def test_the_image_is_built_from_a_digest_and_the_lock_and_runs_as_nobody():
    lines = [line for line in (REPO / "infra" / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    assert "FROM ${BASE}" in lines and not any(re.match(r"ARG BASE=", line) for line in lines)
    lock = next(i for i, line in enumerate(lines) if "COPY" in line and "requirements.lock" in line)
    code = next(i for i, line in enumerate(lines) if "COPY" in line and "uvrlab" in line)
    assert lock < code, "the layer of the dependencies must not change with the code"
    assert [line for line in lines if line.startswith("USER")][-1] == "USER 10001:10001"
    for line in lines:
        for source in line.split()[1:-1] if line.startswith("COPY") else ():
            assert source.startswith("--") or (REPO / source).exists(), line


@pytest.mark.parametrize("script", ["smoke.sh"])
def test_scripts_parse(script):
    assert subprocess.run(["bash", "-n", str(REPO / "infra" / script)]).returncode == 0


def _blocks(text: str) -> list[str]:
    joined = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.S)).replace("\\\n", " ")
    return [line.split("  #")[0].strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def _documented() -> list[list[str]]:
    section = re.search(r"^## A cluster\n(.*?)^## ", (REPO / "README.md").read_text(), re.S | re.M)
    assert section, "README.md lacks its cluster section"
    lines = _blocks(section[1]) + _blocks((REPO / "infra" / "README.md").read_text())
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("words", _documented(), ids=" ".join)
def test_every_command_of_the_cluster_documentation_is_one_and_every_file_that_it_names_is_validated(words):
    """A dry run of what a new user types; what it applies is validated above or, for infra/zenml, in test_zenml_cluster.py."""
    flags = [word.partition("=")[0] for word in words if word.startswith("--")]
    for word in words:
        if re.match(r"(infra|configs|tests)/", word):
            assert (REPO / word).exists(), word
    if words[0] == "make":
        done = subprocess.run(["make", "--dry-run", "--no-print-directory", *words[1:]], cwd=REPO, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        words = shlex.split(done.stdout.splitlines()[-1])
        flags = [word for word in words if word.startswith("--")]
    if "-m" in words:
        source = (REPO / (words[words.index("-m") + 1].replace(".", "/") + ".py")).read_text()
        assert all(f'"{flag}"' in source for flag in flags), flags
    elif words[0] == "python":
        assert words[1] == "infra/zenml/register.py" and words[2] in yaml.safe_load((REPO / "infra/zenml/stacks.yaml").read_text())
    elif words[0] == "kubectl":
        validated = {f"infra/k8s/overlays/{name}" for name in ("cpu", "gpu")} | {"infra/zenml/trainjobs.yaml"}
        assert words[1] in {"apply", "kustomize"} and words[-1] in validated
    elif words[:3] == ["zenml", "pipeline", "run"]:
        module, _, name = words[3].rpartition(".")
        assert f"def {name}(" in (REPO / (module.replace(".", "/") + ".py")).read_text() and words[-2] == "-s"
        assert words[-1].removeprefix("uvr-") in yaml.safe_load((REPO / "infra/zenml/stacks.yaml").read_text())
    elif words[0] == "docker":
        arguments = [words[at + 1].partition("=")[0] for at, word in enumerate(words) if word == "--build-arg"]
        assert all(f"ARG {name}" in (REPO / "infra" / "Dockerfile").read_text() for name in arguments)
    else:
        assert words == ["infra/smoke.sh"] or words[:2] in (["dvc", "remote"], ["dvc", "push"]), words


def test_the_runbook_has_its_five_cases_and_names_what_exists():
    text = (REPO / "infra" / "RUNBOOK.md").read_text()
    titles = re.findall(r"^## (.*)", text, re.M)
    assert [title.split()[0] for title in titles] == ["Exit", "Unschedulable,", "Bus", "NCCL", "Full"]
    library = "\n".join(file.read_text() for file in (REPO / "uvrlab").rglob("*.py"))
    manifests_text = "\n".join(file.read_text() for file in (REPO / "infra" / "k8s").rglob("*.yaml"))
    for said in re.findall(r"`([^`]+)`", text):
        words = shlex.split(said)
        if words[0] == "uvr" and len(words) > 1:
            known = _parser()._subparsers._group_actions[0].choices[words[1]].format_help()  # type: ignore[union-attr]
            assert all(word in known for word in words if word.startswith("--")), said
        elif re.fullmatch(r"\$?UVR_[A-Z_]+(=\w+)?", said):
            assert said.lstrip("$").partition("=")[0] in library, said
        elif re.fullmatch(rf"(run|{'|'.join(STAGES)})(\.[a-z_]+)+", said):
            value: Any = load_config(None)
            for part in said.split("."):
                value = getattr(value, part)
        elif re.match(r"(configs|uvrlab)/[\w./]*$", said):
            assert (REPO / said).exists() or said.partition("/")[2] in manifests_text, said
        elif "-l " in said:
            assert words[words.index("-l") + 1].replace("=", ": ") in manifests_text, said


def test_every_yaml_file_is_named_by_a_kustomization():
    files = set((REPO / "infra" / "k8s").rglob("*.yaml"))
    lists = {file for file in files if file.name == "kustomization.yaml"}
    named = set()
    for file in lists:
        told = yaml.safe_load(file.read_text())
        patches = [patch["path"] for patch in told.get("patches", []) if "path" in patch]
        named |= {file.parent / name for name in (*told["resources"], *patches)}
    assert files - lists - named == set()
