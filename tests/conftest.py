"""What all tests share: no network, one thread, and the shared data where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports transformers
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real motion, ``../shared/data`` or ``$REMORA_SHARED/data``; skips where there is none."""
    folder = Path(os.environ.get("REMORA_SHARED", REPOSITORY.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set REMORA_SHARED to the folder that has data/")
    return folder
