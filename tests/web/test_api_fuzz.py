"""Whatever the OpenAPI allows, and what it does not, is answered as the OpenAPI says and never by a fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from remora.web.settings import Settings
from tests.web.conftest import FakeGenerator, served, stand_ins, until

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


@pytest.fixture(scope="module")
def place(template: Path) -> Iterator[str]:
    """A studio over the library of five takes, with a fake encoder and a fake generator; nothing changes the library."""
    with pytest.MonkeyPatch.context() as patch:
        stand_ins(patch, FakeGenerator())
        options = Settings(library=template, read_only=True, rate=1e6, burst=1e6, waiting=1000, jobs_waiting=1000)
        with served(options) as address:
            until(lambda: requests.get(f"{address}/healthz", timeout=5).json()["models"]["encoder"] == "ready")
            yield address


@pytest.fixture(scope="module")
def api(place: str) -> Any:
    """Its OpenAPI, without the streams, which do not end."""
    return schemathesis.openapi.from_url(f"{place}/api/openapi.json").exclude(path_regex="events")


def test_every_route_keeps_to_its_description(api: Any) -> None:
    asked = set()
    for found in api.get_all_operations():
        operation = found.ok()
        asked.add(operation.label)

        @settings(
            max_examples=8, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS, timeout=30)

        ask()
    assert {"POST /api/search", "POST /api/jobs/edit", "POST /api/uploads", "GET /api/frames/{clip}"} <= asked


def test_it_is_still_well_afterwards(place: str) -> None:
    assert requests.get(f"{place}/healthz", timeout=5).json()["status"] == "ok"
    text = requests.get(f"{place}/metrics", timeout=5).text
    assert 'status="500"' not in text and 'status="503"' not in text
