"""Weights of the generator on disk: one folder a model, safetensors and config.json, nothing unpickled.

- A model that reads tokens carries the fingerprint of the tokenizer that made them; another tokenizer is refused.
- Loading is strict: a missing, surplus or misshapen tensor is an error, never random weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from generator.errors import GeneratorError
from generator.tokenizer import Tokenizer, TokenizerConfig

C = TypeVar("C")
_UNSAVED = ("cluster_size", "embed_avg")  # averages of the codebooks: needed to resume, not to use


def save_tokenizer(model: Tokenizer, folder: Path, notes: Mapping[str, object]) -> None:
    """The folder :func:`load_tokenizer` reads."""
    save_model(model, folder, {"kind": "tokenizer", "model": asdict(model.config), **notes}, keep_float=("quantisers",))


def load_tokenizer(folder: Path, device: str = "cpu") -> Tokenizer:
    """The tokenizer in ``folder``; GeneratorError names what is missing or does not fit."""
    config = read_config(folder, "tokenizer")
    model = Tokenizer(from_json(TokenizerConfig, config["model"], folder))
    load_model(model, folder)
    return model.to(device).eval()


def save_model(
    model: nn.Module, folder: Path, config: Mapping[str, object], *, keep_float: tuple[str, ...] = ()
) -> None:
    """Half-precision weights (``keep_float``: prefixes kept single) and ``config`` as config.json, replaced atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for key, value in model.state_dict().items():
        if key.endswith(_UNSAVED):
            continue
        single = key.startswith(keep_float) or key in ("mean", "std") or not value.is_floating_point()
        tensors[key] = (value if single else value.half()).detach().clone().contiguous().cpu()
    partial = folder / "model.safetensors.partial"
    save_file(tensors, partial)
    partial.replace(folder / "model.safetensors")
    text = json.dumps(config, indent=2, sort_keys=True, default=str) + "\n"
    partial = folder / "config.json.partial"
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / "config.json")


def load_model(model: nn.Module, folder: Path) -> None:
    """Fill ``model`` from ``folder``, strictly."""
    path = folder / "model.safetensors"
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise GeneratorError(f"cannot read {path}: {error}; restore the folder or train again") from error
    own = model.state_dict()
    state = {k: v.to(own[k].dtype) if k in own else v for k, v in state.items()}
    state |= {k: v for k, v in own.items() if k.endswith(_UNSAVED)}
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise GeneratorError(f"{path} does not fit its config.json: {str(error).splitlines()[-1].strip()}") from error


def read_config(folder: Path, kind: str) -> dict[str, Any]:
    """config.json of a folder that holds a ``kind`` of model; GeneratorError when it does not."""
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = config["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GeneratorError(f"cannot read {path}: {error}; give a folder written by remora train {kind}") from error
    if found != kind:
        raise GeneratorError(f"{folder} holds a {found}, not a {kind}; give the folder of a {kind}")
    return config


def from_json(cls: type[C], data: Mapping[str, Any], folder: Path) -> C:
    """A configuration dataclass from JSON; GeneratorError on settings it does not know."""
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(data) - known)
    if unknown:
        raise GeneratorError(f"{folder}/config.json has unknown settings {', '.join(unknown)}; it needs a newer Remora")
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})


def fingerprint(folder: Path) -> str:
    """32 hex digits over weights and configuration of a folder."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update((folder / "model.safetensors").read_bytes())
    digest.update(
        json.dumps(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model"], sort_keys=True).encode()
    )
    return digest.hexdigest()


def check_fingerprint(config: Mapping[str, Any], tokenizer: Path, folder: Path) -> None:
    """GeneratorError unless ``config`` of a model was trained on the tokens of the tokenizer in ``tokenizer``."""
    found, expected = fingerprint(tokenizer), config["tokenizer"]
    if found != expected:
        raise GeneratorError(
            f"{folder} was trained on tokens of another tokenizer (expected {str(expected)[:12]}..., {tokenizer} is "
            f"{found[:12]}...); use the tokenizer it was trained with, or train it again"
        )
