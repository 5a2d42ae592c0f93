"""What an evaluation leaves behind: `results.json`, a typed summary, and `per_query.parquet`, which every paired test
reads.

It computes no metric and compares nothing: tasks.py scores, compare.py compares.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from uvrlab import runs
from uvrlab.data import schema
from uvrlab.data.world.attributes import Attributes
from uvrlab.evaluation import uvrb
from uvrlab.evaluation.metrics import bootstrap_interval, stratified_mean
from uvrlab.runs import Metric

RESULTS_SCHEMA = 1
RESULTS, PER_QUERY = "results.json", "per_query.parquet"
MAIN = "main"  # as a metric: each dataset's own one
ORACLE, AUTO = "oracle", "auto"
Key = tuple[str, str, str]  # mode, metric, dataset
Table = dict[Key, dict[str, float]]  # -> {query_id: value}


class ResultsError(ValueError):
    """Results that are incomplete, or two that must not be compared."""


def is_bound(mode: str) -> bool:
    """Whether a mode looks at the truth: the oracle and pass@k are no way to search, and no claim about a model."""
    return mode == ORACLE or mode.startswith("pass@")


class Frozen(BaseModel):
    """A record that neither changes nor takes unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Score(Frozen):
    """A metric (a share in [0, 1]) over n queries, with its bootstrap interval and chance level.

    `dataset` may be an average (`AVG_D`, `AVG_A`, an ability): then `ability` is null and n counts the queries behind
    it.
    """

    dataset: str
    ability: str | None
    mode: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    chance: float | None = None


class ModeCost(Frozen):
    """What a mode costs: tokens a query, the share of the n queries that are thought about, thoughts without a vector.

    `candidate_tokens`: a candidate's, spent once when a corpus is indexed.
    """

    mode: str
    n: int
    query_tokens: float
    candidate_tokens: float
    thinks: float
    fallbacks: int


class Routing(Frozen):
    """The router against the better single mode and the oracle: mean over datasets of their own metrics, on n queries.

    `oracle_if_independent`: of two modes that hit without regard to each other. An oracle that is no better has its gain from the
    luck of a second try, which no score structure foretells. `realised` is auto's gain over the oracle's, both over the better
    single mode; None where the oracle gains nothing.
    """

    n: int
    better_single: str
    single: float
    oracle: float
    auto: float
    oracle_if_independent: float
    oracle_gain: Metric
    auto_gain: Metric
    realised: Metric | None
    thinks: float
    token_share: float | None  # of what `think` spends on the same queries


class Results(Frozen):
    """`results.json`."""

    schema_: int = Field(default=RESULTS_SCHEMA, alias="schema")
    model_digest: str
    benchmark_digest: str
    main: dict[str, str]  # dataset -> its own metric
    scores: tuple[Score, ...]
    averages: tuple[Score, ...]
    seed: int
    bootstrap: int
    sampling: dict[str, Any]  # frames, fps, pixels, template; UVRB's prompts or not; thinking and router beyond mode speed
    versions: dict[str, str]
    modes: tuple[ModeCost, ...] = ()
    routing: Routing | None = None
    attributes: Attributes | None = None  # of greedy thoughts about the world's clips

    def score(self, dataset: str, metric: str = MAIN, mode: str | None = None) -> Score:
        """One score or average; `mode` may be left out where there is one. Raises ResultsError saying what there is."""
        wanted = self.main.get(dataset, MAIN) if metric == MAIN else metric
        rows = (*self.scores, *self.averages)
        found = [s for s in rows if (s.dataset, s.metric) == (dataset, wanted) and mode in (None, s.mode)]
        if len(found) != 1:
            have = sorted({f"{s.dataset} {s.metric} {s.mode}" for s in rows if s.dataset == dataset}) or sorted(
                {s.dataset for s in rows}
            )
            raise ResultsError(f"{len(found)} results for {dataset} {wanted} {mode or 'any mode'}; found {', '.join(have)}")
        return found[0]


@dataclass(frozen=True)
class Evaluation:
    """A summary together with its `per_query` rows."""

    results: Results
    rows: Sequence[Mapping[str, Any]]


def summarise(
    rows: Sequence[Mapping[str, Any]],
    *,
    chances: Mapping[tuple[str, str], float],
    seed: int,
    bootstrap: int = 2000,
    sampling: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    main: Mapping[str, str] | None = None,
    bounds: Collection[str] = (),
) -> Evaluation:
    """An evaluation from `per_query` rows and `chances` {(dataset, metric): level}.

    `main` names each dataset's own metric; by default UVRB's published one, R@1 elsewhere. `bounds` are modes that look at the
    truth: the chance level of a search is none of theirs.
    """
    table, abilities = tabulate(rows)
    levels = {key: level for key in table if key[0] not in bounds and (level := chances.get((key[2], key[1]))) is not None}
    own = {d: (main or {}).get(d) or uvrb.main_metric(d) for d in abilities}
    scores = [_score(key, values, abilities[key[2]], levels.get(key), seed, bootstrap) for key, values in table.items()]
    return Evaluation(
        Results(
            model_digest=_only(rows, "model_digest"),
            benchmark_digest=_only(rows, "benchmark_digest"),
            main=own,
            scores=tuple(scores),
            averages=tuple(_averages(table, abilities, own, levels, seed, bootstrap)),
            seed=seed,
            bootstrap=bootstrap,
            sampling=dict(sampling or {}),
            versions=dict(versions or {}),
        ),
        rows,
    )


def write(folder: Path, evaluation: Evaluation) -> None:
    """Write `per_query.parquet`, then `results.json`."""
    schema.write_file("per_query", [dict(row) for row in evaluation.rows], folder / PER_QUERY)
    runs.write_json(folder / RESULTS, evaluation.results.model_dump(mode="json", by_alias=True))


def read(folder: Path) -> Evaluation:
    """Read both files back. Raises ResultsError where one is missing, of another schema, or they speak of different
    models.
    """
    for name in (RESULTS, PER_QUERY):
        if not (folder / name).is_file():
            raise ResultsError(f"{folder} has no {name}; expected the output of the evaluate stage")
    results = Results.model_validate_json((folder / RESULTS).read_text())
    if results.schema_ != RESULTS_SCHEMA:
        raise ResultsError(
            f"{folder / RESULTS}: found schema {results.schema_}, expected {RESULTS_SCHEMA}; evaluate the model again"
        )
    rows = schema.read_table("per_query", folder / PER_QUERY)
    for name in ("model_digest", "benchmark_digest"):
        if (found := _only(rows, name)) != (told := getattr(results, name)):
            raise ResultsError(f"{folder}: {PER_QUERY} has {name} {found[:12]}, {RESULTS} {told[:12]}; evaluate the model again")
    return Evaluation(results, rows)


def tabulate(rows: Sequence[Mapping[str, Any]]) -> tuple[Table, dict[str, str]]:
    """`per_query` rows as {(mode, metric, dataset): {query_id: value}}, and the ability of each dataset."""
    table: Table = {}
    abilities: dict[str, str] = {}
    for row in rows:
        values = table.setdefault((row["mode"], row["metric"], row["dataset"]), {})
        if row["query_id"] in values:
            raise ResultsError(
                f"query {row['query_id']!r} of {row['dataset']!r} stands twice for {row['metric']}, mode {row['mode']!r}"
            )
        values[row["query_id"]] = row["value"]
        abilities[row["dataset"]] = row["ability"]
    return table, abilities


def _only(rows: Sequence[Mapping[str, Any]], column: str) -> str:
    found = sorted({str(row[column]) for row in rows})
    if len(found) != 1:
        raise ResultsError(f"{PER_QUERY} holds {len(found)} values of {column}: {found[:3]}; expected one evaluation of one model")
    return found[0]


def _score(key: Key, values: Mapping[str, float], ability: str, chance: float | None, seed: int, n: int) -> Score:
    mode, metric, dataset = key
    numbers = list(values.values())
    low, high = bootstrap_interval(numbers, seed, n)
    return Score(
        dataset=dataset,
        ability=ability,
        mode=mode,
        metric=metric,
        value=sum(numbers) / len(numbers),
        low=low,
        high=high,
        n=len(numbers),
        chance=chance,
    )


def _averages(
    table: Table,
    abilities: Mapping[str, str],
    own: Mapping[str, str],
    chances: Mapping[Key, float],
    seed: int,
    n: int,
) -> list[Score]:
    """For each mode: averages of the datasets' own metrics, and of every metric that all datasets of the average have."""
    found, names = [], (MAIN, *dict.fromkeys(metric for _, metric, _ in table))
    wanted = [(m, *part) for m in sorted({mode for mode, _, _ in table}) for part in uvrb.weights(abilities).items()]
    for mode, average, parts in wanted:
        for metric in names:
            keys = [(mode, own[d] if metric == MAIN else metric, d) for d in parts]
            if all(key in table for key in keys):
                found.append(_average(average, metric, keys, parts, table, chances, seed, n))
    return found


def _average(
    average: str,
    metric: str,
    keys: Sequence[Key],
    parts: Mapping[str, float],
    table: Table,
    chances: Mapping[Key, float],
    seed: int,
    n: int,
) -> Score:
    values = [v for key in keys for v in table[key].values()]
    strata = [key[2] for key in keys for _ in table[key]]
    low, high = bootstrap_interval(values, seed, n, strata=strata, weights=parts)
    levels = [chances.get(key) for key in keys]
    return Score(
        dataset=average,
        ability=None,
        mode=keys[0][0],
        metric=metric,
        value=stratified_mean(values, strata, parts),
        low=low,
        high=high,
        n=len(values),
        chance=None if None in levels else sum(parts[key[2]] * (level or 0.0) for key, level in zip(keys, levels, strict=True)),
    )
