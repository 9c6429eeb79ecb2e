"""Training of the generator's four models: each one flat loop, resumable, selected on validation."""

from generator.train.config import OPTICAL, RunConfig
from generator.train.length import LengthTraining, train_length
from generator.train.masked import MaskedTraining, train_masked
from generator.train.residual import ResidualTraining, train_residual
from generator.train.tokenizer import TokenizerTraining, train_tokenizer

__all__ = [
    "OPTICAL",
    "LengthTraining",
    "MaskedTraining",
    "ResidualTraining",
    "RunConfig",
    "TokenizerTraining",
    "train_length",
    "train_masked",
    "train_residual",
    "train_tokenizer",
]
