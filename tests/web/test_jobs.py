"""New motion: jobs that wait, run, tell, end and are cancelled; a result is a clip like any other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

import generator.model
from generator import GeneratorError
from tests.web.conftest import FakeGenerator, begun, ids, until


@pytest.fixture(scope="module")
def place(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of this module's own."""
    return Path(shutil.copytree(template, tmp_path_factory.mktemp("jobs") / "library"))


@pytest.fixture(scope="module")
def making(place: Path, maker: FakeGenerator) -> Iterator[TestClient]:
    """A studio that can make motion."""
    with begun(library=place) as client:
        yield client


def submit(client: TestClient, kind: str = "generate", **asked: Any) -> dict[str, Any]:
    """A job that must be taken."""
    answer = client.post(f"/api/jobs/{kind}", json=asked)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def over(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    """The job when it has ended."""
    until(lambda: client.get(f"/api/jobs/{job['job_id']}").json()["state"] in ("done", "failed", "cancelled"))
    return dict(client.get(f"/api/jobs/{job['job_id']}").json())


def test_without_weights_it_says_what_to_do(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: object = None) -> None:
        raise GeneratorError("no generator here")

    monkeypatch.setattr(generator.model, "generator_folder", missing)
    answer = client.post("/api/jobs/generate", json={"text": "a person waves"})
    assert (answer.status_code, answer.json()["code"]) == (503, "no_generator")
    assert "make train" in answer.json()["error"]
    assert client.get("/api/library").json()["features"]["generate"] is False


def test_a_motion_is_made_from_exemplars_and_is_a_clip_like_any_other(making: TestClient, maker: FakeGenerator) -> None:
    job = over(making, submit(making, text="wave hello", seconds=3.0, seed=7, neighbours=2))
    assert job["state"] == "done", job
    result = job["result"]
    assert (result["seed"], result["duration_s"], job["request"]["text"]) == (7, 3.0, "wave hello")
    assert {one["clip_id"] for one in result["exemplars"]} <= set(ids(making)) and len(result["exemplars"]) == 2
    clip = result["clip"]
    assert making.get(f"/api/frames/{clip}").status_code == 200
    assert making.get(f"/api/clips/{clip}").json()["captions"][0] == {
        "text": "wave hello", "start_s": 0.0, "end_s": 0.0, "kind": "model",
    }  # fmt: skip
    found = making.post("/api/search", json={"clip": clip, "k": 1}).json()
    assert len(found["hits"]) == 1
    assert making.get(f"/api/export/{clip}", params={"format": "npy"}).content[:6] == b"\x93NUMPY"


def test_named_exemplars_are_read_and_none_when_none_are_wanted(making: TestClient, maker: FakeGenerator) -> None:
    clip = ids(making)[0]
    over(making, submit(making, text="kick", exemplars=[clip], candidates=1))
    over(making, submit(making, text="kick", neighbours=0, candidates=1))
    assert [[x.clip.clip_id for x in prompt.exemplars] for prompt in maker.prompts[-2:]] == [[clip], []]


def test_the_candidate_that_fits_the_words_best_is_kept(making: TestClient, maker: FakeGenerator) -> None:
    before = len(maker.prompts)
    job = over(making, submit(making, text="kick", seed=5, candidates=3))
    drawn = [prompt.seed for prompt in maker.prompts[before:]]
    assert (job["state"], job["result"]["seed"], len(set(drawn)), drawn[0]) == ("done", 5, 3, 5)


def test_a_part_of_a_clip_is_made_anew(making: TestClient) -> None:
    asked = {"clip": ids(making)[0], "text": "wave hello", "start_s": 0.5, "end_s": 1.0, "parts": ["left_arm"]}
    job = over(making, submit(making, "edit", **asked))
    assert job["result"]["edited"] == {"start_s": 0.5, "end_s": 1.0, "parts": ["left_arm"]}


@pytest.mark.parametrize(
    ("kind", "asked", "status"),
    [
        ("generate", {"text": " "}, 422),
        ("generate", {"text": "🙂"}, 422),
        ("generate", {"text": "walk", "seconds": 59}, 422),
        ("generate", {"text": "walk", "where": "drop table"}, 422),
        ("generate", {"text": "walk", "exemplars": ["nothing"]}, 404),
        ("generate", {"text": "walk", "steps": 10**9}, 422),
        ("generate", {"text": "walk", "candidates": 10**9}, 422),
        ("edit", {"clip": "nothing", "text": "walk"}, 404),
        ("edit", {"clip": "upload:ffff", "text": "walk"}, 404),
    ],
)
def test_what_is_wrong_is_said_before_a_job_begins(making: TestClient, kind: str, asked: Any, status: int) -> None:
    before = making.get("/api/jobs").json()
    answer = making.post(f"/api/jobs/{kind}", json=asked)
    assert answer.status_code == status and answer.json()["error"]
    assert making.get("/api/jobs").json() == before


def test_the_queue_is_bounded_and_jobs_can_be_cancelled(making: TestClient, maker: FakeGenerator) -> None:
    maker.go.clear()
    maker.steps = 0
    first = submit(making, text="walk")
    until(lambda: maker.steps > 0)
    waiting = [submit(making, text="walk") for _ in range(4)]
    assert [making.get(f"/api/jobs/{one['job_id']}").json()["position"] for one in waiting] == [1, 2, 3, 4]
    full = making.post("/api/jobs/generate", json={"text": "walk"})
    assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (429, "busy", "1")
    assert making.delete(f"/api/jobs/{waiting[1]['job_id']}").json()["state"] == "cancelled"
    making.delete(f"/api/jobs/{first['job_id']}")
    maker.go.set()
    assert over(making, first)["state"] == "cancelled"
    assert [over(making, one)["state"] for one in (waiting[0], waiting[2])] == ["done", "done"]
    assert maker.steps < 50  # neither cancelled job went on


def test_a_fault_of_the_generator_is_told_and_the_next_job_runs(making: TestClient, maker: FakeGenerator) -> None:
    def broken(*args: Any, **options: Any) -> Iterator[Any]:
        raise RuntimeError("numbers from /srv/someone/weights")

    works, maker.generate = maker.generate, broken  # type: ignore[method-assign]
    job = over(making, submit(making, text="walk"))
    assert job["state"] == "failed" and "RuntimeError" in job["error"] and "/" not in job["error"]
    maker.generate = works  # type: ignore[method-assign]
    assert over(making, submit(making, text="walk"))["state"] == "done"


def test_progress_is_streamed_to_its_end(making: TestClient) -> None:
    job = submit(making, text="walk")
    with making.stream("GET", f"/api/jobs/{job['job_id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        text = "".join(stream.iter_text())
    told = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    assert told[-1]["state"] == "done" and told[-1]["result"]["clip"].startswith("result:")
    with making.stream("GET", f"/api/jobs/{job['job_id']}/events") as stream:  # it is over: told once, and closed
        assert "".join(stream.iter_text()).count("event: job") == 1


def test_results_are_kept_for_the_library(making: TestClient, place: Path) -> None:
    clip = over(making, submit(making, text="a new dance"))["result"]["clip"]
    before = making.get("/api/library").json()["version"]
    kept = making.post("/api/clips", json={"clip": clip, "name": "../../my dance"})
    assert kept.status_code == 201, kept.text
    assert kept.json()["clip_id"].startswith("kept/") and ".." not in kept.json()["clip_id"].partition("#")[0].split(
        "/"
    )
    assert kept.json()["version"] > before and kept.json()["captions"][0]["text"] == "a new dance"
    found = making.post("/api/search", json={"text": "a new dance", "k": 1}).json()["hits"][0]
    assert found["clip_id"] == kept.json()["clip_id"]
    again = making.post("/api/clips", json={"clip": clip, "name": "../../my dance"})
    assert again.status_code == 201 and again.json()["clip_id"] != kept.json()["clip_id"]
    gone = making.delete(f"/api/clips/{quote(kept.json()['clip_id'], safe='')}")
    assert gone.status_code == 200
    assert kept.json()["clip_id"] not in ids(making) and again.json()["clip_id"] in ids(making)
    assert {path.name for path in place.parent.iterdir()} == {"library"}
