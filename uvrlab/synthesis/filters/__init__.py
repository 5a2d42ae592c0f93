"""V-SynFlow stage 1, multi-granular quality control (GVE, arXiv 2510.27571): every filter writes its score beside its verdict.

Pure functions of a clip or a pair; the rows are those of the table `filters`. Thresholds are ours: the paper publishes none.
"""

from uvrlab.synthesis.filters.clip import measure_clip
from uvrlab.synthesis.filters.table import FILTERS, Dropped, apply, judge
from uvrlab.synthesis.filters.text import measure_text
from uvrlab.synthesis.filters.twins import Embed, duplicates, fingerprints

__all__ = ["FILTERS", "Dropped", "Embed", "apply", "duplicates", "fingerprints", "judge", "measure_clip", "measure_text"]
