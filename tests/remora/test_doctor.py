"""The doctor: says what is wrong and what to type, and is not ill itself."""

from __future__ import annotations

import pytest

import encoders
from remora import doctor
from tests.fakes import FakeEncoder
from tests.remora.conftest import Remora


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "available_encoders", lambda: (encoders.DEFAULT_ENCODER,))


@pytest.mark.usefixtures("shipped")
def test_a_sound_installation_is_called_sound(remora: Remora) -> None:
    result = remora("doctor", "--json")
    found = {check["name"]: check for check in result.json["checks"]}
    assert result.json["ok"] and result.code == 0, found
    assert {"python", "torch", "faiss", "device", "threads", "weights", "text tower"} <= set(found)
    assert "fake" in found["weights"]["found"]


@pytest.mark.usefixtures("fake")
def test_every_problem_comes_with_something_to_type(monkeypatch: pytest.MonkeyPatch, remora: Remora) -> None:
    monkeypatch.setattr(doctor, "version_of", lambda package: None)
    monkeypatch.setattr(encoders, "available_encoders", lambda: ())
    result = remora("doctor", "--json")
    assert result.code == 1 and not result.json["ok"]
    ill = [check for check in result.json["checks"] if check["state"] != "ok"]
    assert {"sqlglot", "weights"} <= {check["name"] for check in ill}
    assert all(check["remedy"] for check in ill)


@pytest.mark.usefixtures("shipped")
def test_weights_that_do_not_load_are_a_problem_not_a_crash(monkeypatch: pytest.MonkeyPatch, remora: Remora) -> None:
    def broken(*args: object, **kwargs: object) -> FakeEncoder:
        raise encoders.WeightsError("model.safetensors is cut off")

    monkeypatch.setattr(encoders, "load_encoder", broken)
    result = remora("doctor")
    assert result.code == 1 and "cut off" in result.out and "PROBLEM" in result.out


def test_two_faiss_packages_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "version_of", lambda package: "1.15.1")
    (check,) = doctor._faiss()
    assert check.state == "problem" and "uninstall" in check.remedy
