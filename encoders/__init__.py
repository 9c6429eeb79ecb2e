"""Text and motion to one space: the ``DualEncoder`` contract, its registry, and the part-momentum model."""

from encoders.base import DualEncoder, Embeddings, EncoderSpec, TokenEncoder, register_encoder
from encoders.errors import EncoderError, TextTowerError, WeightsError
from encoders.hub import DEFAULT_ENCODER, available_encoders, load_encoder

__all__ = [
    "DEFAULT_ENCODER",
    "DualEncoder",
    "Embeddings",
    "EncoderError",
    "EncoderSpec",
    "TextTowerError",
    "TokenEncoder",
    "WeightsError",
    "available_encoders",
    "load_encoder",
    "register_encoder",
]
