"""Shipped weights, one folder an encoder: ``model.safetensors``, ``config.json``, ``README.md`` (the model card)."""
