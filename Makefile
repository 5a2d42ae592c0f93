# uvrlab: `make demo` runs the whole pipeline, `make test` lints and tests. Both set themselves up.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
READY := $(VENV)/.ready

ENGINE ?= zenml
CONFIG ?= configs/demo.yaml
OUT ?= runs
N ?= 100

export PATH := $(CURDIR)/$(BIN):$(PATH)
export ZENML_ANALYTICS_OPT_IN := false
export DVC_NO_ANALYTICS := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: setup demo test long lint lock dvc kfp bench bench-gate bench-validate bench-synthesize bench-peers headroom fuzz chaos clean
.DEFAULT_GOAL := demo

setup: $(READY)

# DS_BUILD_OPS=0: DeepSpeed compiles its kernels when they are first used, not while it is installed.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), f"found Python {sys.version.split()[0]}, expected 3.11 to 3.13; set PYTHON=..."'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	DS_BUILD_OPS=0 $(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# The same graph under each engine, each ending with the same closing table. SET="a.b=c d.e=f" overrides values.
demo: $(READY)
	$(BIN)/python -m pipelines.run $(ENGINE) --config $(CONFIG) --out $(OUT) $(foreach pair,$(SET),--set $(pair))

# One thread: the tests' tensors are small, and threads that wait for one another crawl on a busy machine.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

# What takes minutes: the real stages under kfp.local, two processes, DeepSpeed.
long: $(READY)
	UVR_LONG=1 $(BIN)/python -m pytest -m long

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy uvrlab

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --extra dev --extra ray pyproject.toml -o requirements.lock

dvc: $(READY)
	$(BIN)/python -m pipelines.dvc --config $(CONFIG) $(foreach pair,$(SET),--set $(pair))

# The graph for a Kubeflow Pipelines cluster; IMAGE by digest.
kfp: $(READY)
	$(BIN)/python -m pipelines.kubeflow --config $(CONFIG) $(if $(IMAGE),--image $(IMAGE)) --out $(OUT)/pipeline.yaml $(foreach pair,$(SET),--set $(pair))

bench: $(READY)
	for name in decode encode; do $(BIN)/python bench/$$name.py || exit 1; done

# False alarms and power of the drift test, planted faults, and validate at 1.55 million pairs; about half an hour on 2 cores.
bench-validate: $(READY)
	for name in drift planted_faults validate_scale; do $(BIN)/python bench/$$name.py || exit 1; done

# 20,000 pairs of the world, at a tenth and at full size, then local processes against Ray; about 20 minutes on 2 free cores.
bench-synthesize: $(READY)
	$(BIN)/python bench/synthesize.py

# How often the gate errs at the sizes that `uvr gate --power` prints; about ten minutes. From stored per-query results of two
# seeds: CANDIDATE=RESULTS INCUMBENT=RESULTS.
bench-gate: $(READY)
	$(BIN)/python bench/gate_simulation.py $(if $(CANDIDATE),--candidate $(CANDIDATE) --incumbent $(INCUMBENT))

# Against sentence-transformers' trainer, and every test against it and mteb; both come in with the extra `bench`.
bench-peers: $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock --editable '.[bench]'
	$(BIN)/python -m pytest tests/evaluation/test_mteb.py tests/models/test_foreign.py
	$(BIN)/python bench/contrastive.py

# What the world leaves to later stages; about 40 minutes on 2 cores, resumes where it stopped.
headroom: $(READY)
	$(BIN)/uvr study --config configs/studies/headroom.yaml --out runs/ume-r1
	$(BIN)/python bench/headroom.py runs/ume-r1

fuzz: $(READY)
	$(BIN)/python -m tests.tools.fuzz $(N)

chaos: $(READY)
	$(BIN)/python -m tests.tools.chaos $(N)

clean:
	rm -rf runs work dvc-runs registry build dist *.egg-info
