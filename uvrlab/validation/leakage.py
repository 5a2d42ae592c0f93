"""What trains a model must not be what judges it.

Five kinds of evidence: the same media content (sha256), the same source video (`parent_id`), in the world the same attribute
combination (colour, shape, motion), a picture that is perceptually the same (a clip re-encoded, scaled or graded), and the same
text. The judged clips are those of queries and positives; a mere distractor of a corpus judges nobody. Near-duplicates within
the training side are families, and no leak.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from uvrlab.config import ValidateConfig
from uvrlab.data import schema
from uvrlab.validation import overlap
from uvrlab.validation.suites import SAMPLE_ROWS, Verdict

COLUMNS = ("clip_id", "parent_id", "media_sha256", "split", "source", "scene", "uri", "start_s", "end_s")
PICTURE, TEXT, COPY = "picture", "wording", "text"


@dataclass(frozen=True)
class Leak:
    """One piece of evidence that `train` and `judged` (clip ids; for texts a pair and a query) are not independent."""

    kind: str
    train: str
    judged: str
    evidence: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def train_side(clips: Path, uvrd: Path) -> pd.DataFrame:
    """Clips outside the test split, and any clip that a pair or a question uses."""
    used = set(schema.read_arrow("questions", uvrd / "questions", ["clip_id"])["clip_id"].to_pylist())
    for file in schema.table_files(uvrd / "pairs"):
        table = schema.read_arrow("pairs", file, ["query", "target", "negatives"])
        sides = [table["query"], table["target"], pc.list_flatten(table["negatives"])]
        used.update(*(pc.unique(pc.struct_field(side, "clip_id")).to_pylist() for side in sides))
    rows = schema.read_arrow("clips", clips / "clips", COLUMNS)
    wanted = pc.or_(pc.not_equal(rows["split"], "test"), pc.is_in(rows["clip_id"], _ids(used)))
    return rows.filter(wanted).to_pandas()


def judged_side(benchmark: Path) -> pd.DataFrame:
    """Benchmark clips that a query shows or expects."""
    folder = benchmark / "benchmark"
    queries = schema.read_arrow("queries", folder / "queries", ["dataset", "item", "positives"])
    corpus = schema.read_arrow("corpus", folder / "corpus", ["dataset", "candidate_id", "item"])
    clip_of = pd.Series(
        pc.struct_field(corpus["item"], "clip_id").to_pandas().to_numpy(),
        index=pd.MultiIndex.from_frame(corpus.select(["dataset", "candidate_id"]).to_pandas()),
    )
    clip_of = clip_of[~clip_of.index.duplicated()]
    expected = pd.DataFrame({"dataset": queries["dataset"].to_pandas(), "id": queries["positives"].to_pandas()}).explode("id")
    wanted = set(clip_of.reindex(pd.MultiIndex.from_frame(expected)).dropna())
    wanted.update(pc.struct_field(queries["item"], "clip_id").to_pylist())
    rows = schema.read_arrow("clips", folder / "clips", COLUMNS)
    return rows.filter(pc.is_in(rows["clip_id"], _ids(wanted))).to_pandas()


def _ids(values: set[str | None]) -> pa.Array:
    return pa.array(sorted(v for v in values if v), pa.string())


def _content(clips: pd.DataFrame) -> pd.Series:
    return clips.media_sha256.replace("", None)


def _video(clips: pd.DataFrame) -> pd.Series:
    return (clips.source.fillna("") + ":" + clips.parent_id).where(clips.parent_id.fillna("") != "")


def _combos(clips: pd.DataFrame) -> pd.Series:
    from uvrlab.data.world import Scene, attribute_combos

    return clips.scene.map(lambda scene: sorted("/".join(c) for c in attribute_combos(Scene.from_json(scene))), na_action="ignore")


KINDS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "media content": _content,
    "source video": _video,
    "attribute combination": _combos,
}


def find_leaks(train: pd.DataFrame, judged: pd.DataFrame) -> list[Leak]:
    """Every leak by equal evidence, one a (kind, judged clip, evidence), by hashing: linear in both sides."""
    leaks = []
    for kind, evidence_of in KINDS.items():
        ours, theirs = (pd.DataFrame({"clip": side.clip_id, "said": evidence_of(side)}) for side in (train, judged))
        ours, theirs = (side.explode("said").dropna().drop_duplicates() for side in (ours, theirs))
        met = theirs.merge(ours.drop_duplicates("said"), on="said", suffixes=("_judged", "_train"))
        leaks += [Leak(kind, row.clip_train, row.clip_judged, row.said) for row in met.itertuples()]
    return leaks


def picture_leaks(train: pd.DataFrame, judged: pd.DataFrame, hashes: tuple[np.ndarray, np.ndarray], max_bits: float) -> list[Leak]:
    """Judged clips whose frames (N, T), (M, T) are within `max_bits` of a training clip's, its nearest one named."""
    from uvrlab.data.phash import near

    pairs, bits = near(*hashes, max_bits)
    names = zip(train.clip_id.to_numpy()[pairs[:, 0]], judged.clip_id.to_numpy()[pairs[:, 1]], bits, strict=True)
    return [Leak(PICTURE, ours, theirs, f"{apart:.2f} of 64 bits a frame differ") for ours, theirs, apart in names]


def text_leaks(uvrd: Path, texts: pd.DataFrame) -> list[Leak]:
    """Judged texts that a training text repeats."""
    found = overlap.find_overlaps(texts, overlap.training_texts(uvrd))
    return [Leak(COPY if one.exact else TEXT, one.pair, one.query, f"{one.share:.0%} of its runs of words") for one in found]


def verdicts(leaks: Sequence[Leak], n_clips: int, own: ValidateConfig, n_texts: int = 0, n_hashed: int = 0) -> list[Verdict]:
    """One verdict a kind: at most `allow_leakage` judged clips, or `max_caption_overlap` of the judged texts, may leak."""
    clips = {kind: (f"no judged clip shares its {kind} with the training side", n_clips, own.allow_leakage) for kind in KINDS}
    if own.near_duplicate_bits is not None:
        clips[PICTURE] = ("no judged clip looks like a clip of the training side", n_hashed, own.allow_leakage)
    most = int(own.max_caption_overlap * n_texts)
    texts = {
        COPY: ("judged texts are not said on the training side", n_texts, most),
        TEXT: ("judged texts are not nearly said on the training side", n_texts, most),
    }
    found = []
    for kind, (name, checked, allowed) in (clips | texts).items():
        judged = sorted({leak.judged for leak in leaks if leak.kind == kind})
        found.append(Verdict("leakage", name, len(judged) <= allowed, checked, len(judged), judged[:SAMPLE_ROWS], allowed))
    return found
