"""The promotion gate: errors before scores, floors, then paired evidence on every slice. It reads results and moves nothing."""

from uvrlab.gate.judge import Verdict, judge
from uvrlab.gate.policy import GatePolicy, load_policy

__all__ = ["GatePolicy", "Verdict", "judge", "load_policy"]
