"""Training of the generator's four models: each one flat loop, resumable, selected on validation."""

from generator.train.config import RunConfig
from generator.train.tokenizer import TokenizerTraining, train_tokenizer

__all__ = ["RunConfig", "TokenizerTraining", "train_tokenizer"]
