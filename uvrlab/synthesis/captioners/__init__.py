"""Captioners: where the words of UVRD come from, one literal table of them.

`world` reads the scene graph and knows all styles. `given` has just the caption that came with the clip. `rules` words what it
measures. `openai` asks a model behind an OpenAI-compatible endpoint.
"""

from __future__ import annotations

import importlib

from uvrlab.config import SynthesizeConfig
from uvrlab.synthesis.captioners.base import Captioner, ProviderError

CAPTIONERS = {
    "given": "uvrlab.synthesis.captioners.given:Given",
    "openai": "uvrlab.synthesis.captioners.openai:OpenAI",
    "rules": "uvrlab.synthesis.captioners.rules:Rules",
    "world": "uvrlab.synthesis.captioners.world:World",
}

__all__ = ["CAPTIONERS", "Captioner", "ProviderError", "captioner"]


def captioner(own: SynthesizeConfig) -> Captioner:
    """The captioner that the config names; ready to be made again in another process from the same config."""
    module, _, name = CAPTIONERS[own.provider].partition(":")
    kind = getattr(importlib.import_module(module), name)
    made: Captioner = kind(own.captioner) if own.provider == "openai" else kind()
    return made
