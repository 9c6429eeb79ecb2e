"""Encoders by name: the shipped ones, or any folder that training has written."""

from __future__ import annotations

import json
from pathlib import Path

from encoders.base import DualEncoder, loader_for, register_encoder
from encoders.errors import WeightsError

DEFAULT_ENCODER = "part-momentum-small"
_SHIPPED = Path(__file__).parent / "weights"


def available_encoders() -> tuple[str, ...]:
    """Names of the shipped encoders."""
    return tuple(sorted(path.parent.name for path in _SHIPPED.glob("*/config.json")))


def weights_folder(name_or_path: str | Path | None = None) -> Path:
    """The folder of a shipped encoder or of a trained run; WeightsError when there is none."""
    name = str(name_or_path or DEFAULT_ENCODER)
    for folder in (_SHIPPED / name, Path(name), Path(name) / "weights"):
        if (folder / "config.json").is_file():
            return folder
    known = ", ".join(available_encoders()) or "none"
    raise WeightsError(f"no encoder {name!r}: neither a shipped one ({known}) nor a folder with config.json")


def load_encoder(name_or_path: str | Path | None = None, *, device: str = "auto") -> DualEncoder:
    """Load a shipped encoder by name or a trained one by folder; the default is ``part-momentum-small``."""
    from encoders.device import choose_device

    folder = weights_folder(name_or_path)
    return loader_for(architecture_of(folder))(str(folder), choose_device(device).name)


def architecture_of(folder: Path) -> str:
    """What config.json names, or ``motionclip`` for a folder of that published layout, which names nothing.

    Raises:
        WeightsError: config.json cannot be read, or tells nothing.
    """
    try:
        data = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = data.get("model")
        if isinstance(model, dict):
            return str(model["architecture"])
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise WeightsError(f"{folder / 'config.json'} names no architecture ({error!r}); restore the folder") from error
    if (folder / "mean.npy").is_file() and (folder / "std.npy").is_file():
        return "motionclip"
    raise WeightsError(f"{folder} holds no encoder: config.json names no architecture, and mean.npy is missing")


def _part_momentum(folder: str, device: str) -> DualEncoder:
    from encoders.part_momentum.encoder import load

    return load(folder, device)


def _motion_clip(folder: str, device: str) -> DualEncoder:
    from encoders.motion_clip.encoder import load

    return load(folder, device)


register_encoder("motionclip", _motion_clip)
register_encoder("part-momentum", _part_momentum)
register_encoder("whole-body", _part_momentum)
