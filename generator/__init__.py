"""Sentences and exemplars to new motion: tokens, masked and residual transformers, guidance."""
