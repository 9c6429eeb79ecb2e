"""The API answers what the command line answers, from the same dataclasses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from remora.engine import Engine
from remora.web.answers import CaptionsAnswer, ClassifyAnswer, MomentsAnswer, SearchAnswer
from retriever import Hits
from tests.fakes import FakeEncoder
from tests.web.conftest import Studio, ids


def ask(client: TestClient, **asked: Any) -> Any:
    """The answer to a search that must succeed."""
    answer = client.post("/api/search", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_search_is_that_of_the_command_line(client: TestClient, template: Path) -> None:
    engine = Engine(template, encoder=FakeEncoder())
    options: dict[str, Any] = {"parts": ["left_arm"], "k": 3, "where": "duration_s < 4"}
    told = ask(client, text="wave hello", **options)
    plain = engine.search("wave hello", **options).to_json()
    assert {key: told[key] for key in ("query", "hits", "library_version")} == {
        key: plain[key] for key in ("query", "hits", "library_version")
    }
    page = {field.name for field in dataclasses.fields(SearchAnswer)} - {
        field.name for field in dataclasses.fields(Hits)
    }
    assert set(told) - set(plain) == page
    assert TypeAdapter(Hits).validate_python(plain).hits[0].clip_id == plain["hits"][0]["clip_id"]


def test_a_link_asks_the_same_question(client: TestClient) -> None:
    asked = ask(client, text="kick ball", parts=["right_leg"], weights={"whole": 2}, k=2)
    link = client.get("/api/search", params={"text": "kick ball", "part": "right_leg", "weights": "whole=2", "k": 2})
    assert link.json() == asked
    assert client.get(link.url, headers={"if-none-match": link.headers["etag"]}).status_code == 304


def test_pages_follow_one_another_without_gap_or_repeat(client: TestClient) -> None:
    whole = ask(client, text="somebody", k=100)
    assert (whole["next"], whole["matching"]) == (None, len(ids(client)))
    hits, offset = [], 0
    while offset is not None:
        page = ask(client, text="somebody", k=2, offset=offset)
        hits += page["hits"]
        offset = page["next"]
    assert hits == whole["hits"]
    listed = [client.get("/api/clips", params={"offset": at, "limit": 2}).json()["items"] for at in (0, 2, 4)]
    assert [item["clip_id"] for page in listed for item in page] == ids(client)


def test_only_these_are_asked(client: TestClient) -> None:
    some = ids(client)[:2]
    assert {hit["clip_id"] for hit in ask(client, text="wave", within=some)["hits"]} == set(some)
    assert ask(client, text="wave", within=[])["hits"] == []
    short = ask(client, text="wave", within=some, where="duration_s < 2")["hits"]
    assert all(hit["end_s"] < 2 for hit in short)


def test_a_clip_finds_itself_and_equals_itself(client: TestClient) -> None:
    clip = ids(client)[2]
    assert ask(client, clip=clip, k=1)["hits"][0]["clip_id"] == clip
    same = client.get("/api/compare", params={"a": clip, "b": clip}).json()
    assert [same["whole"], *same["parts"].values()] == pytest.approx([1] * 7, abs=1e-5)


def test_captions_and_labels_of_a_motion(client: TestClient) -> None:
    clip = next(one for one in ids(client) if "wave" in one)
    told = client.get(f"/api/describe/{quote(clip, safe='')}", params={"k": 2}).json()
    assert told["captions"][0]["text"] == "wave hello"
    assert len(TypeAdapter(CaptionsAnswer).validate_python(told).captions) == 2
    answer = client.post(
        "/api/classify", json={"clip": clip, "labels": ["wave hello", "kick"], "template": "{}"}
    ).json()
    assert answer["best"] == answer["labels"][0]["label"] == "wave hello"
    assert TypeAdapter(ClassifyAnswer).validate_python(answer).clip == clip


def test_counts_of_columns_add_up(client: TestClient) -> None:
    told = client.get("/api/facets", params={"where": "duration_s < 4"}).json()
    columns = {column["name"]: column for column in told["columns"]}
    assert columns["source"]["values"] == [{"value": "takes", "count": told["clips"]}]
    assert sum(one["count"] for one in columns["duration_s"]["bins"]) == told["clips"] == 4
    assert columns["duration_s"]["high"] == 3.0
    assert client.get("/api/facets", params={"where": "duration_s > 100"}).json()["clips"] == 0


def test_what_the_library_holds_and_its_versions(client: TestClient) -> None:
    told = client.get("/api/library").json()
    assert (told["name"], told["clips"], told["read_only"]) == ("library", 5, False)
    newest = client.get("/api/versions").json()["versions"][0]
    assert (newest["version"], newest["rows"]) == (told["version"], 5)


def test_a_clip_is_told_of_without_its_place(client: TestClient) -> None:
    clip = next(one for one in ids(client) if "jump" in one)
    told = client.get(f"/api/clips/{quote(clip, safe='')}").json()
    assert (told["clip_id"], told["take"], told["n_frames"]) == (clip, "deep/jump high.npy", 30)
    assert told["captions"][0]["text"] == "jump high"


def test_clips_answer_before_the_models_are_there(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, fake: FakeEncoder
) -> None:
    import threading

    import encoders

    arrives = threading.Event()

    def slow(*args: object, **options: object) -> FakeEncoder:
        arrives.wait(20)
        return fake

    monkeypatch.setattr(encoders, "load_encoder", slow)
    with studio(wait=False) as client:
        clip = ids(client)[0]
        assert ask(client, clip=clip, k=1)["hits"][0]["clip_id"] == clip
        answer = client.post("/api/search", json={"text": "wave"})
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "loading", "1")
        arrives.set()
        from tests.web.conftest import until

        until(lambda: client.post("/api/search", json={"text": "wave"}).status_code == 200)


def test_more_and_less_like_this(client: TestClient) -> None:
    wave, kick = (next(one for one in ids(client) if name in one) for name in ("wave", "kick"))
    assert kick not in {hit["clip_id"] for hit in ask(client, more_like=[kick])["hits"]}
    assert wave not in {hit["clip_id"] for hit in ask(client, text="wave hello", less_like=[wave])["hits"]}
    assert client.post("/api/search", json={"less_like": [kick]}).status_code == 422
    assert client.post("/api/search", json={"more_like": ["nothing"]}).status_code == 404


def test_moments_are_those_of_the_command_line(client: TestClient, template: Path) -> None:
    clip = next(one for one in ids(client) if "walk" in one)
    engine = Engine(template, encoder=FakeEncoder())
    for asked in ({"clip_id": clip, "k": 2}, {"k": 3, "where": "duration_s > 2"}):
        body = {"text": "  long   walk", "clip": asked.get("clip_id"), "k": asked["k"], "where": asked.get("where")}
        told = client.post("/api/moments", json=body)
        plain = [one.to_json() for one in engine.localize("long walk", **asked)]
        assert told.json() == {"query": "long walk", "moments": plain}
        found = TypeAdapter(MomentsAnswer).validate_python(told.json()).moments
        assert all(m.end_s <= 6.0 + 1e-6 and m.start_s < m.end_s for one in found for m in one.moments)
    assert len(plain) == 3 and plain[0]["clip"] == clip


def test_the_windows_of_a_clip_are_embedded_once(studio: Studio, fake: FakeEncoder) -> None:
    with studio(moments_seconds=4.0) as client:
        short, long = (next(one for one in ids(client) if name in one) for name in ("salsa", "walk"))
        assert client.post("/api/moments", json={"text": "salsa", "clip": short}).status_code == 200
        before = fake.encoded
        again = client.post("/api/moments", json={"text": "another word", "clip": short}).json()
        assert again["moments"][0]["text"] == "another word" and fake.encoded == before > 5
        refused = client.post("/api/moments", json={"text": "salsa", "clip": long})
        assert (refused.status_code, refused.json()["code"]) == (422, "too_long")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"text": ""}, 422),
        ({"text": "\U0001f642"}, 422),
        ({"text": "wave", "clip": "nothing"}, 404),
        ({"text": "wave", "k": 0}, 422),
    ],
)
def test_moments_of_nothing_are_an_error(client: TestClient, asked: dict[str, Any], status: int) -> None:
    assert client.post("/api/moments", json=asked).status_code == status
    clip = ids(client)[0]
    assert client.post("/api/moments", json={"text": "wave", "clip": clip, "where": "true"}).status_code == 422


def test_a_motion_and_words_are_one_question(client: TestClient) -> None:
    wave, kick = (next(one for one in ids(client) if name in one) for name in ("wave", "kick"))
    both = ask(client, clip=wave, text="kick ball", k=2)
    assert {hit["clip_id"] for hit in both["hits"]} == {wave, kick}
    assert "kick ball" in both["query"] and wave in both["query"]
