"""Sentences and exemplars to new motion: tokens, masked and residual transformers, guidance.

Names are loaded when they are first used: a generator is heavy, a prompt file is not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from generator.errors import GeneratorError

if TYPE_CHECKING:
    from generator.editing import Edit, Edited, edit
    from generator.exemplars import ExemplarClip
    from generator.guidance import Guidance
    from generator.model import Generated, Generator, Prompt, load_generator
    from generator.prompts import parse_prompts
    from generator.sampling import Sampling

_HOMES = {
    "Edit": "editing",
    "Edited": "editing",
    "ExemplarClip": "exemplars",
    "Generated": "model",
    "Generator": "model",
    "Guidance": "guidance",
    "Prompt": "model",
    "Sampling": "sampling",
    "edit": "editing",
    "load_generator": "model",
    "parse_prompts": "prompts",
}

__all__ = [
    "Edit",
    "Edited",
    "ExemplarClip",
    "Generated",
    "Generator",
    "GeneratorError",
    "Guidance",
    "Prompt",
    "Sampling",
    "edit",
    "load_generator",
    "parse_prompts",
]


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'generator' has no attribute {name!r}") from None
    return getattr(import_module(f"generator.{home}"), name)
