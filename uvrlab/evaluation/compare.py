"""Two evaluations, query by query: paired effects with interval, p and minimum detectable effect.

Only on the same benchmark and the same queries; anything else is refused, naming what differs, and never approximated.
"""

from __future__ import annotations

from collections.abc import Sequence

from uvrlab.evaluation import uvrb
from uvrlab.evaluation.metrics import paired_bootstrap, stratified_mean
from uvrlab.evaluation.results import MAIN, Evaluation, Frozen, Key, Results, ResultsError, Table, tabulate


class Effect(Frozen):
    """a against b on the same n queries: both values, their difference with interval, two-sided p and minimum
    detectable effect.
    """

    dataset: str
    ability: str | None
    mode: str
    metric: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    minimum_detectable: float
    verdict: str  # moved | not shown


class Comparison(Frozen):
    """Every dataset, then every average, of two models on one benchmark."""

    model_a: str
    model_b: str
    benchmark_digest: str
    seed: int
    effects: tuple[Effect, ...]


def compare(
    a: Evaluation, b: Evaluation, *, seed: int = 0, bootstrap: int = 2000, modes: tuple[str, str] | None = None
) -> Comparison:
    """Paired effects of `a` over `b`, for each dataset, metric and shared mode, and for the averages of each dataset's
    own metric.

    `modes` compares one mode of `a` with one of `b`, e.g. ("gen", "disc"). Raises ResultsError when the two were not
    evaluated on the same benchmark and queries, naming what differs and the remedy.
    """
    _check_same_benchmark(a.results, b.results)
    table_a, abilities = tabulate(a.rows)
    table_b, _ = tabulate(b.rows)
    table_a, table_b = _select(table_a, modes and modes[0]), _select(table_b, modes and modes[1])
    if modes:
        table_b = {(modes[0], metric, dataset): values for (_, metric, dataset), values in table_b.items()}
    shown = {mode for mode, _, _ in table_a} & {mode for mode, _, _ in table_b}
    if not shown:
        raise ResultsError(f"no shared mode: found {_modes(a)} and {_modes(b)}; pass modes=(mode of a, mode of b)")
    keys = [key for key in table_a if key[0] in shown]
    _check_same_queries({k: table_a[k] for k in keys}, {k: v for k, v in table_b.items() if k[0] in shown})
    effects = [_effect(key[2], abilities[key[2]], key[0], key[1], [key], [1.0], table_a, table_b, seed, bootstrap) for key in keys]
    for mode in sorted(shown):
        for average, parts in uvrb.weights(abilities).items():
            chosen = [(mode, a.results.main[dataset], dataset) for dataset in parts]
            if all(key in table_a for key in chosen):
                effects.append(_effect(average, None, mode, MAIN, chosen, list(parts.values()), table_a, table_b, seed, bootstrap))
    return Comparison(
        model_a=a.results.model_digest,
        model_b=b.results.model_digest,
        benchmark_digest=a.results.benchmark_digest,
        seed=seed,
        effects=tuple(effects),
    )


def _effect(
    name: str,
    ability: str | None,
    mode: str,
    metric: str,
    keys: Sequence[Key],
    weights: Sequence[float],
    table_a: Table,
    table_b: Table,
    seed: int,
    n: int,
) -> Effect:
    pairs = [(key[2], table_a[key][q], table_b[key][q]) for key in keys for q in sorted(table_a[key])]
    strata, a, b = (list(column) for column in zip(*pairs, strict=True))
    shares = {key[2]: weight for key, weight in zip(keys, weights, strict=True)}
    effect = paired_bootstrap(a, b, strata, seed=seed, n=n, weights=shares)
    return Effect(
        dataset=name,
        ability=ability,
        mode=mode,
        metric=metric,
        a=stratified_mean(a, strata, shares),
        b=stratified_mean(b, strata, shares),
        difference=effect.difference,
        low=effect.low,
        high=effect.high,
        p_value=effect.p_value,
        n=effect.n,
        minimum_detectable=effect.minimum_detectable,
        verdict=effect.verdict,
    )


def _check_same_benchmark(a: Results, b: Results) -> None:
    if a.benchmark_digest != b.benchmark_digest:
        raise ResultsError(
            f"not comparable: model {a.model_digest[:12]} was evaluated on benchmark {a.benchmark_digest[:12]}, "
            f"model {b.model_digest[:12]} on {b.benchmark_digest[:12]}; "
            "evaluate both on one: uvr run evaluate --in benchmark=DIR --in model=DIR --out DIR"
        )
    prompts = [side.sampling["prompts"] for side in (a, b) if "prompts" in side.sampling]
    if len(set(prompts)) > 1:
        raise ResultsError(
            f"not comparable: evaluate.prompts is {prompts[0]} of model {a.model_digest[:12]}, {prompts[1]} of model "
            f"{b.model_digest[:12]}; evaluate both models with the same config"
        )
    if a.main != b.main:
        differing = sorted(d for d in a.main.keys() | b.main.keys() if a.main.get(d) != b.main.get(d))
        raise ResultsError(
            f"not comparable: datasets or their own metrics differ ({', '.join(differing)}); "
            "evaluate both models with the same config"
        )


def _check_same_queries(table_a: Table, table_b: Table) -> None:
    if odd := sorted(table_a.keys() ^ table_b.keys()):
        mode, metric, dataset = odd[0]
        side = "second" if odd[0] in table_a else "first"
        raise ResultsError(
            f"not comparable: the {side} evaluation lacks {metric} of {dataset!r}, mode {mode!r} ({len(odd)} such); "
            "evaluate both models with the same config"
        )
    for key, values in table_a.items():
        if odd_ids := sorted(values.keys() ^ table_b[key].keys()):
            raise ResultsError(
                f"not comparable: query sets of {key[2]!r} differ: {len(values)} and {len(table_b[key])} queries, "
                f"{odd_ids[0]!r} stands in one only ({len(odd_ids)} such); evaluate both models again on the whole dataset"
            )


def _select(table: Table, mode: str | None) -> Table:
    return {key: values for key, values in table.items() if mode in (None, key[0])}


def _modes(evaluation: Evaluation) -> list[str]:
    return sorted({str(row["mode"]) for row in evaluation.rows})
