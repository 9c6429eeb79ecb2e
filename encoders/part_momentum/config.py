"""What a part-momentum model is made of and how it is trained: two frozen dataclasses, saved as JSON.

- ``small`` runs on two CPU cores; ``base`` has the sizes of the published part-level momentum model.
- ``whole-body`` is the control: one tower over the whole feature vector, no parts, as many parameters as ``small``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

from encoders.errors import EncoderError, WeightsError
from motion import PARTS


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the towers; frames are at the rate of ``features``, a token is ``patch`` frames."""

    architecture: str = "part-momentum"
    features: str = "humanml3d-137"
    parts: tuple[str, ...] = PARTS
    dim: int = 256  # D of the shared space
    patch: int = 8  # frames a token: 0.4 s at 20 fps
    part_width: int = 64
    part_layers: int = 2
    body_width: int = 224
    body_layers: int = 3
    heads: int = 4
    dropout: float = 0.1
    part_dropout: float = 0.15  # a part is hidden from the whole-body head, so that no part is indispensable
    share_sides: bool = True  # left limbs are mirrored and read by the right limbs' tower
    views: bool = False  # the body is read beside the parts, with a head of its own; else through them
    order: bool = False  # the text side is told the order of events
    decoder: bool = False  # motion can be rebuilt from a vector: a loss in training, nothing in use
    text_tower: str = "minilm"
    text_dim: int = 384
    text_hidden: int = 512

    @property
    def is_baseline(self) -> bool:
        """Whether this is the whole-body control."""
        return not self.parts

    def to_json(self) -> str:
        """Stable JSON, keys sorted."""
        return json.dumps(asdict(self), indent=2, sort_keys=True)


SMALL = ModelConfig(views=True, order=True)
BASE = replace(
    SMALL, dim=512, part_width=512, part_layers=4, body_width=512, body_layers=2, share_sides=False, text_hidden=1024
)
WHOLE_BODY = replace(SMALL, architecture="whole-body", parts=(), body_width=276, body_layers=3, part_dropout=0.0)
CONFIGS = {"small": SMALL, "base": BASE, "whole-body": WHOLE_BODY}


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on; written to ``run.json`` in the run folder."""

    data: tuple[str, ...]
    out: str
    name: str = "part-momentum-small"
    model: ModelConfig = field(default_factory=lambda: SMALL)
    wordings: str = ""  # folder with wordings.parquet and style_wordings.parquet
    synthetic: int = 800  # procedurally generated clips beside the real ones
    exclude_sources: tuple[str, ...] = ()
    exclude_classes: tuple[str, ...] = ()
    validation_subjects: tuple[str, ...] = ()  # persons taken from the train split to validate on
    steps: int = 2000
    batch: int = 256
    pieces: int = 0  # clips that go through the motion towers at once; 0 for the whole batch
    max_frames: int = 120
    lr: float = 1.4e-3
    weight_decay: float = 0.05
    warmup: int = 100
    momentum: float = 0.99  # of the slow copy; 0 for none
    queue: int = 1024  # keys of the slow copy kept as negatives; 0 for none, and no momentum term
    part_weight: float = 0.5
    view_weight: float = 0.5  # of the body and of the parts together, each held against the sentence by itself
    mask: bool = True  # the same class and all but equal captions are no negatives; else the same take alone
    reconstruction: float = 0.0  # weight of rebuilding the motion from either vector; needs the model's decoder
    hard: bool = True  # a caption with its sides or its events exchanged is one more negative
    quirk: float = 0.1  # deviation of a constant added to the joint positions of a draw, in deviations of the feature
    key_weight: float = 0.25  # share of the momentum term in the loss
    styled: float = 0.4  # share of captions with a style phrase, where a clip has a style
    styles: bool = True  # captions that name another style are negatives within a class
    seed: int = 0
    device: str = "auto"
    amp: bool = False  # half precision on a GPU; models as small as these are slower with it
    eval_every: int = 200
    patience: int = 0  # evaluations without improvement before stopping; 0 never


def checked(config: TrainConfig) -> TrainConfig:
    """``config``, whose fields may have come from a file.

    Raises:
        EncoderError: a field, or one of its ``model``, is of another kind than its default.
    """
    for prefix, given, known in (("", config, TrainConfig((), "")), ("model.", config.model, ModelConfig())):
        for name, default in vars(known).items():
            value, kind = getattr(given, name), type(default)
            fits = (int, float) if kind is float else (list, tuple) if kind is tuple else kind
            if not isinstance(value, fits) or (isinstance(value, bool) and kind is not bool):
                raise EncoderError(f"{prefix}{name} is {value!r}; give a {kind.__name__}, as {default!r}")
    return config


def control(config: TrainConfig) -> TrainConfig:
    """The whole-body baseline of the same data, steps and size: no parts, no momentum, same-class negatives masked."""
    return replace(config, momentum=0.0, queue=0, part_weight=0.0, styles=False, hard=False)


def read_config(path: Path) -> ModelConfig:
    """The ``model`` part of a config.json; WeightsError when it is missing or has unknown keys."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"cannot read the model configuration {path}: {error}; give a folder written by training"
        ) from error
    known = {field.name for field in fields(ModelConfig)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise WeightsError(f"{path} has unknown settings {', '.join(unknown)}; it needs a newer version of Remora")
    data["parts"] = tuple(data["parts"])
    return ModelConfig(**data)
