"""The four findings of the GVE paper, worked out again from its own tables, and beside them what our models say.

The paper names Pearson and rarely the group or the average; each claim here names all three, and is judged against the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from uvrlab.evaluation import uvrb
from uvrlab.evaluation.correlations import Correlation, correlate
from uvrlab.evaluation.diagnose import TASKS, WHOLE
from uvrlab.evaluation.published import ABILITIES, CLIP, DATASETS, FIG7_CLIP, FIG7_COLUMNS, GVE_I, MLLM, Scores
from uvrlab.evaluation.score_tables import ScoreTable

ROUNDING = 0.006  # cells have two decimals, and their sources three
CELL_ROUNDING = 0.0015

# family and size in billions of parameters as the models' names give it -> models
GROUPS: dict[str, tuple[str, ...]] = {
    "CLIP-type": CLIP,
    "MLLM-type, 2-7B": (*MLLM, *GVE_I),
    "all": (*CLIP, *MLLM, *GVE_I),
    "baseline": (*CLIP, *MLLM),
}


@dataclass(frozen=True)
class Claim:
    """A correlation that the paper's text states: between which columns and over which models."""

    finding: int
    words: str
    row: str
    column: str
    group: str
    published: float


CLAIMS = (
    Claim(1, "a popular benchmark predicts the whole poorly", "MSRVTT", "AVG_D", "baseline", 0.58),
    Claim(1, "partially relevant retrieval predicts the whole", "PR", WHOLE, "all", 0.97),
    Claim(2, "spatial and temporal ability are apart", "S", "T", "all", 0.12),
    Claim(2, "fine-grained ability follows the temporal one", "T", "FG", "MLLM-type, 2-7B", 0.98),
    Claim(3, "CLIP-type models: coarse ability is spatial", "S", "CG", "CLIP-type", 0.99),
    Claim(3, "CLIP-type models: coarse ability is not temporal", "T", "CG", "CLIP-type", 0.46),
    Claim(4, "visual queries are apart from the whole", "VIS", WHOLE, "all", 0.26),
)


@dataclass(frozen=True)
class Finding:
    """A claim with both coefficients from the published tables, the verdict, and Spearman over our own models."""

    claim: Claim
    spearman: Correlation
    pearson: Correlation
    ours: Correlation | None  # None: our evaluations lack a column, or there are none

    @property
    def verdict(self) -> str:
        """Whether the tables give the published figure, and by which coefficient."""
        for name, found in (("Spearman", self.spearman), ("Pearson", self.pearson)):
            if found.value is not None and abs(found.value - self.claim.published) <= ROUNDING:
                return f"holds by {name}"
        return "departs"


def findings(own: ScoreTable | None = None) -> list[Finding]:
    """The claims against the published tables, and against the evaluations of our own models in `own`."""
    published = {model: {**row, **DATASETS.get(model, {})} for model, row in ABILITIES.items()}
    ours = {model: own.scores[model] for model in own.own} if own else {}
    return [_finding(claim, published, ours) for claim in CLAIMS]


def as_json(found: Sequence[Finding]) -> dict[str, Any]:
    """{"findings": [a claim with "spearman", "pearson", "verdict", "ours"], "departures": [str]}."""
    rows = [
        {**asdict(f.claim), "models": list(GROUPS[f.claim.group]), "spearman": asdict(f.spearman), "pearson": asdict(f.pearson)}
        | {"verdict": f.verdict, "ours": asdict(f.ours) if f.ours else None}
        for f in found
    ]
    return {"findings": rows, "departures": departures(found)}


def _finding(claim: Claim, published: Scores, ours: Scores) -> Finding:
    x, y = (_series({m: published[m] for m in GROUPS[claim.group]}, name) for name in (claim.row, claim.column))
    assert x is not None and y is not None, f"a published model lacks {claim.row} or {claim.column}"
    own_x, own_y = (_series(ours, name) for name in (claim.row, claim.column))
    mine = correlate(own_x, own_y, "spearman") if own_x and own_y else None
    return Finding(claim, correlate(x, y, "spearman"), correlate(x, y, "pearson"), mine)


def _series(scores: Mapping[str, Mapping[str, float]], name: str) -> list[float] | None:
    """One value a model, or None where a model lacks the column."""
    parts = TASKS if name == WHOLE else (name,)
    if not all(part in row for row in scores.values() for part in parts):
        return None
    return [sum(row[part] for part in parts) / len(parts) for row in scores.values()]


def figure7_errors() -> dict[str, float]:
    """{method: the largest distance between a printed cell of Fig. 7 (CLIP-type) and the same from the tables}."""
    columns = {name: [ABILITIES[model][name] for model in CLIP] for name in FIG7_COLUMNS}
    worst = {"spearman": 0.0, "pearson": 0.0}
    for row, printed in FIG7_CLIP.items():
        for column, cell in zip(FIG7_COLUMNS, printed, strict=False):
            for method in ("spearman", "pearson"):
                value = correlate(columns[row], columns[column], method).value
                worst[method] = max(worst[method], abs((value if value is not None else 9.0) - cell))
    return worst


def departures(found: Sequence[Finding]) -> list[str]:
    """Where the paper's text and figures depart from its tables, and where its tables depart from themselves."""
    worst = figure7_errors()
    said = [
        f"the text says Pearson; the printed cells of Fig. 7 (CLIP-type) are Spearman: off by {worst['spearman']:.3f} at most, "
        f"by Pearson up to {worst['pearson']:.2f}"
    ]
    for f in found:
        c = f.claim
        if f.verdict != "holds by Spearman":
            said.append(
                f"finding {c.finding}: {c.row} with {c.column} is said to be {c.published:.2f}; over {c.group} models "
                f"(n = {f.spearman.n}) the tables give {f.spearman.value:.2f} (Spearman), {f.pearson.value:.2f} (Pearson)"
            )
    abilities = {name: d.ability for name, d in uvrb.DATASETS.items()}
    for model, row in DATASETS.items():
        again = uvrb.averages(row, abilities)
        wrong = [f"{n} {ABILITIES[model][n]:.3f} for {v:.3f}" for n, v in again.items() if _differs(ABILITIES[model][n], v)]
        if wrong:
            said.append(f"{model}: averages that its own dataset cells do not give: {', '.join(wrong)}")
    return [*said, f"Unite-7B: the text credits it with VIS 0.702, the table has {ABILITIES['Unite-7B']['VIS']:.3f}"]


def _differs(printed: float, again: float) -> bool:
    return abs(printed - again) > CELL_ROUNDING
