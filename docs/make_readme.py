"""Writes the outputs in README.md anew: ``python -m docs.make_readme ../shared/data`` (minutes: it indexes all of it).

Every block is what the command printed, run in an empty folder; long JSON is shortened to its first hit. Pictures go with it:
``docs/hits.png``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
RAW = (
    "remora index motions --library my-library",
    'remora search "a person throws punches" --library my-library -k 4 --save-strip hits.png',
    "remora search --motion motions/bandai-1/dataset-1_kick_normal_001.bvh --part right_leg --where \"clip_id like '%cmu%'\" "
    "--library my-library -k 3",
    'remora search "someone dances" --where "duration_s < 8 and clip_id like \'%cmu%\'" --library my-library -k 1 --json',
    'remora classify motions/bandai-1/dataset-1_bow_normal_001.bvh --labels "walk,run,wave,bow,kick"',
)
LABELLED = (
    "remora index actions --library actions-library",
    'remora search "a person waves with the left hand" --library actions-library -k 4',
)
HIDDEN = re.compile(r"^(indexing|embedding|wrote hits)|\r")


def run(command: str, folder: Path) -> str:
    """What ``command`` prints, without progress bars; an error ends everything."""
    words = [sys.executable, "-m", "remora", *shlex.split(command)[1:]]
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160", "NO_COLOR": "1"}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    lines = [line.rstrip() for line in (done.stderr + done.stdout).splitlines()]
    return "\n".join(line for line in lines if line and not HIDDEN.search(line))


def shortened(text: str) -> str:
    """The JSON of a search with what a reader needs to see its shape."""
    found = json.loads(text[text.index("{") :])
    hit = found["hits"][0]
    keep = ("rank", "clip_id", "start_s", "end_s", "score", "captions", "source", "parts")
    first = json.dumps({key: hit[key] for key in keep})
    head = json.dumps({key: found[key] for key in ("query", "library_version")})[:-1]
    return f'{head}, "plan": {{"method": "{found["plan"]["method"]}", …}},\n "hits": [{first[:-1]}, …}}]}}'


def session(commands: tuple[str, ...], folder: Path) -> str:
    """Prompt lines and outputs, as on a terminal."""
    shown = []
    for command in commands:
        out = run(command, folder)
        if command.endswith("--json"):
            command, out = f"{command}     # shortened", shortened(out)
        shown.append(f"$ {command}\n{out}")
    return "```text\n" + "\n\n".join(shown) + "\n```"


def replaced(text: str, before: str, block: str) -> str:
    """``text`` with the next fenced block after ``before`` replaced."""
    start = text.index("```text", text.index(before))
    end = text.index("```", start + 3) + 3
    return text[:start] + block + text[end:]


def main() -> None:
    data = Path(sys.argv[1]).resolve()
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for archive in sorted((data / "raw").glob("*.tar.xz")):
            with tarfile.open(archive) as packed:
                packed.extractall(folder / "motions", filter="data")
        (folder / "actions").symlink_to(data / "actions")
        text = replaced(text, "<!-- demo output -->", f"```text\n{run('remora demo', folder)}\n```")
        text = replaced(text, "<!-- search output -->", session(RAW, folder))
        text = replaced(text, "And on 5,424 labelled clips", session(LABELLED, folder))
        shutil.copy(folder / "hits.png", ROOT / "docs" / "hits.png")
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
