"""Ctrl-C and closed pipes: nothing that was reported is lost, and the terminal stays clean."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from db import Library
from tests.fakes import write_takes

ROOT = Path(__file__).resolve().parents[2]
SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background hands down that it is ignored
import encoders
from indexer import pipeline
from tests.fakes import FakeEncoder

class Slow(FakeEncoder):
    def encode_motion(self, clips):
        time.sleep({pause})
        return super().encode_motion(clips)

encoder = Slow()
encoders.load_encoder = lambda *args, **kwargs: encoder
pipeline.COMMIT_CLIPS = 2
from remora.cli.app import run
run()
"""


def start(pause: float, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW.format(pause=pause), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_keeps_what_was_committed_and_the_next_run_goes_on(tmp_path: Path) -> None:
    takes = write_takes(tmp_path / "takes", {f"walk {number}.npy": 1.0 for number in range(20)})
    library = tmp_path / "library"
    process = start(0.3, "index", takes, "--library", library)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (Library.exists(library) and Library.open(library).latest):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err and "interrupted" in err and out == ""
    second = start(0.0, "index", takes, "--library", library, "--json")
    report = json.loads(second.communicate(timeout=60)[0])
    assert report["unchanged"] >= 2 and report["added"] + report["unchanged"] == 20 and report["added"] > 0


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    takes = write_takes(tmp_path / "takes", {"walk.npy": 1.0})
    process = start(0.0, "index", takes, "--library", tmp_path / "library", "--json")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=60)
    assert "Traceback" not in err
