"""Assistants use the library by tools, and can change nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.web.conftest import FakeGenerator, begun, ids


@pytest.fixture(scope="module")
def assistant(template: Path, maker: FakeGenerator) -> Iterator[TestClient]:
    """A studio with tools."""
    with begun(library=template, mcp=True) as client:
        yield client


def rpc(client: TestClient, method: str, **params: Any) -> Any:
    """The answer to one message."""
    answer = client.post("/mcp", json={"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
    assert answer.status_code == 200 and answer.json()["id"] == 7
    return answer.json()


def call(client: TestClient, name: str, **arguments: Any) -> Any:
    """The result of a tool."""
    return rpc(client, "tools/call", name=name, arguments=arguments)["result"]


def test_the_tools_are_there_only_when_asked_for(client: TestClient) -> None:
    assert client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"}).status_code == 404


def test_an_assistant_shakes_hands_and_sees_the_tools(assistant: TestClient) -> None:
    hello = rpc(
        assistant, "initialize", protocolVersion="2025-03-26", capabilities={}, clientInfo={"name": "x", "version": "1"}
    )
    assert hello["result"]["protocolVersion"] == "2025-03-26" and "tools" in hello["result"]["capabilities"]
    assert rpc(assistant, "initialize", protocolVersion="1999-01-01")["result"]["protocolVersion"] == "2025-06-18"
    told = assistant.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (told.status_code, told.content) == (202, b"")
    tools = {tool["name"]: tool for tool in rpc(assistant, "tools/list")["result"]["tools"]}
    assert set(tools) == {"search_motions", "describe_motion", "generate_motion"}
    assert all(
        tool["annotations"]["readOnlyHint"] and tool["inputSchema"]["type"] == "object" for tool in tools.values()
    )
    assert all(
        field.get("description") for tool in tools.values() for field in tool["inputSchema"]["properties"].values()
    )


def test_it_is_spoken_to_as_the_official_client_speaks(assistant: TestClient) -> None:
    """The order and the headers of the package ``mcp`` (streamable HTTP), as its protocol sets them down."""
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}

    def send(body: dict[str, Any], **more: str) -> Any:
        return assistant.post("/mcp", json={"jsonrpc": "2.0"} | body, headers=headers | more)

    who = {"capabilities": {}, "clientInfo": {"name": "mcp", "version": "0.1.0"}, "protocolVersion": "2099-01-01"}
    hello = send({"id": 0, "method": "initialize", "params": who})
    assert hello.headers["content-type"] == "application/json" and "mcp-session-id" not in hello.headers
    spoken = {"mcp-protocol-version": hello.json()["result"]["protocolVersion"]}
    assert send({"method": "notifications/initialized"}, **spoken).status_code == 202
    stream = assistant.get("/mcp", headers={"accept": "text/event-stream"} | spoken)
    assert (stream.status_code, stream.headers["allow"]) == (405, "POST")
    assert send({"id": 1, "method": "tools/list"}, **spoken).json()["result"]["tools"]
    asked = {"name": "search_motions", "arguments": {"text": "wave hello", "k": 1}}
    found = send({"id": 2, "method": "tools/call", "params": asked}, **spoken).json()
    assert found["id"] == 2 and found["result"]["isError"] is False
    assert json.loads(found["result"]["content"][0]["text"]) == found["result"]["structuredContent"]
    assert send({"id": 3, "result": {}}, **spoken).status_code == 202
    assert send({"id": 4, "method": "ping"}, **{"mcp-protocol-version": "1999-01-01"}).status_code == 400
    assert assistant.delete("/mcp", headers=spoken).status_code == 405


def test_search_describe_generate(assistant: TestClient) -> None:
    found = call(assistant, "search_motions", text="wave hello", k=2)["structuredContent"]
    plain = assistant.post("/api/search", json={"text": "wave hello", "k": 2}).json()
    assert found == plain
    clip = found["hits"][0]["clip_id"]
    told = call(assistant, "describe_motion", clip=clip)["structuredContent"]
    assert told["clip"]["clip_id"] == clip and told["fits"]["captions"][0]["text"] == "wave hello"
    made = call(assistant, "generate_motion", text="wave hello", seed=3)["structuredContent"]
    assert assistant.get(made["files"]["npy"]).status_code == 200


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("search_motions", {}), ("search_motions", {"text": "x", "k": 0}), ("search_motions", {"text": "x", "where": "a;b"}),
        ("search_motions", {"text": "x", "parts": ["tail"]}), ("describe_motion", {"clip": "../../etc/passwd"}),
        ("describe_motion", {}), ("generate_motion", {"text": ""}), ("search_motions", {"text": "x", "more": 1}),
    ],
)  # fmt: skip
def test_a_wrong_call_is_told_to_the_assistant(assistant: TestClient, name: str, arguments: Any) -> None:
    result = call(assistant, name, **arguments)
    assert result["isError"] and result["content"][0]["text"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"1", b'{"id": 1}', b"\xff"])
def test_what_is_no_message_is_an_error_of_the_protocol(assistant: TestClient, body: bytes) -> None:
    answer = assistant.post("/mcp", content=body, headers={"content-type": "application/json"})
    assert answer.json()["error"]["code"] in (-32700, -32600)
    assert rpc(assistant, "tools/dance")["error"]["code"] == -32601
    assert rpc(assistant, "tools/call", name="drop_library")["error"]["code"] == -32602


def test_tools_change_nothing(assistant: TestClient, template: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in template.rglob("*") if path.is_file()}
    test_search_describe_generate(assistant)
    assert {path: path.stat().st_mtime_ns for path in template.rglob("*") if path.is_file()} == before
    assert ids(assistant)
