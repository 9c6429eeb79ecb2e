"""Errors of the encoder room.

EncoderError
├── WeightsError        weights are missing, damaged, or of another architecture
└── TextTowerError      a sentence encoder is not installed or does not fit
"""

from __future__ import annotations


class EncoderError(Exception):
    """Base of everything that goes wrong with an encoder."""


class WeightsError(EncoderError):
    """Weights are missing, damaged, or made for another architecture."""


class TextTowerError(EncoderError):
    """The sentence encoder an encoder was trained with is not installed, or is another one."""
