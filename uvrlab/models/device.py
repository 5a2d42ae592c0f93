"""Which torch device a run uses."""

from __future__ import annotations


def torch_device(wanted: str) -> str:
    """The torch device of `run.device`; "auto" takes a GPU where there is one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
