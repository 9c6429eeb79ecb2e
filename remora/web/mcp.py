"""The library as tools for assistants: the Model Context Protocol over HTTP, at ``/mcp`` where ``--mcp`` was given.

- JSON-RPC 2.0, one message a request, no sessions: what the protocol calls a stateless server with tools only.
- The tools search, describe and generate. None changes the library: an assistant can not be talked into it.
- What is wrong with a call is told as the tool's result, so that an assistant can correct itself.

Source: modelcontextprotocol.io, revision 2025-06-18 (earlier ones that a client asks for are answered alike).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from motion import PARTS
from remora.web.asked import ClipId, Condition, Generate, Search
from remora.web.clips import clip_answer
from remora.web.desk import Desk, desk_of
from remora.web.errors import StudioError, as_studio_error
from remora.web.making import generation
from remora.web.reply import reply, to_json

router = APIRouter(include_in_schema=False)
REVISIONS = ("2025-06-18", "2025-03-26", "2024-11-05")
PATIENCE_S = 120.0  # for a generation
INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, PARSE_ERROR = -32600, -32601, -32602, -32700


class Tool(BaseModel):
    """The arguments of a tool."""

    model_config = ConfigDict(extra="forbid")


class SearchMotions(Tool):
    """Arguments of search_motions."""

    text: Annotated[
        str, Field(max_length=2000, description="What to look for, e.g. 'a person waves with the left hand'.")
    ] = ""
    clip: Annotated[str, Field(max_length=1000, description="Or: the id of a clip to find motions like.")] = ""
    parts: Annotated[list[str], Field(max_length=6, description=f"Compare only these parts: {', '.join(PARTS)}.")] = []
    where: Annotated[
        Condition | None, Field(description="A filter, e.g. \"duration_s < 4 and caption ilike '%wave%'\".")
    ] = None
    k: Annotated[int, Field(ge=1, le=50, description="How many.")] = 10


class DescribeMotion(Tool):
    """Arguments of describe_motion."""

    clip: Annotated[ClipId, Field(description="The id of a clip, as a search gives it.")]


class GenerateMotion(Tool):
    """Arguments of generate_motion."""

    text: Annotated[
        str, Field(min_length=1, max_length=2000, description="What to make, e.g. 'a person kicks, then bows'.")
    ]
    seconds: Annotated[float | None, Field(gt=0, le=60, description="Its length; left out: estimated.")] = None
    seed: Annotated[int | None, Field(ge=0, le=2**31 - 1, description="The same seed makes the same motion.")] = None
    neighbours: Annotated[int, Field(ge=0, le=8, description="How many clips of the library to learn from.")] = 2


def search_motions(desk: Desk, asked: SearchMotions) -> Any:
    """Find motions in the library by a sentence or by a clip, best first, with scores and captions."""
    question = Search(text=asked.text or None, clip=asked.clip or None, parts=asked.parts, where=asked.where, k=asked.k)
    return desk.studio.search(question)


def describe_motion(desk: Desk, asked: DescribeMotion) -> Any:
    """Tell what is known of a clip, and the captions of the library that fit its motion best."""
    engine = desk.studio.engine
    known = clip_answer(desk.studio.clip(asked.clip, engine), engine.snapshot.version)
    return {"clip": known, "fits": desk.studio.describe(asked.clip, 5)}


def generate_motion(desk: Desk, asked: GenerateMotion) -> Any:
    """Make a new motion from a sentence and the clips that fit it; returns its id and where to fetch it as a file."""
    request = Generate(text=asked.text, seconds=asked.seconds, seed=asked.seed, neighbours=asked.neighbours)
    job = desk.jobs.submit("generate", request.model_dump(), generation(desk.studio, request))
    deadline = time.monotonic() + PATIENCE_S
    while job.state in ("waiting", "running") and time.monotonic() < deadline:
        time.sleep(0.1)
        job = desk.jobs.answer(job.job_id)
    if job.result is None:
        raise StudioError(
            503, "busy", job.error or f"the job {job.job_id} is {job.state}; ask /api/jobs/{job.job_id} later"
        )
    files = {name: f"/api/export/{job.result.clip}?format={name}" for name in ("bvh", "glb", "npy")}
    return {"result": job.result, "files": files}


@dataclass(frozen=True)
class Offered:
    """A tool and its arguments."""

    arguments: type[Tool]
    work: Callable[[Desk, Any], Any]

    def card(self) -> dict[str, Any]:
        """The tool as it is listed."""
        schema = self.arguments.model_json_schema()
        return {
            "name": self.work.__name__, "description": (self.work.__doc__ or "").strip(), "inputSchema": schema,
            "annotations": {"readOnlyHint": True, "destructiveHint": False, "openWorldHint": False},
        }  # fmt: skip


TOOLS = {
    tool.work.__name__: tool
    for tool in (
        Offered(SearchMotions, search_motions),
        Offered(DescribeMotion, describe_motion),
        Offered(GenerateMotion, generate_motion),
    )
}


@router.get("/mcp")
@router.delete("/mcp")
async def no_stream(request: Request) -> Response:
    """There is no stream to listen to and no session to end: what the protocol calls method not allowed."""
    raise HTTPException(405, headers={"allow": "POST"})


@router.post("/mcp")
async def message(request: Request) -> Response:
    """One message of an assistant."""
    desk = desk_of(request)
    if not desk.settings.mcp:
        raise StudioError(404, "not_found", "this studio offers no tools to assistants; start it with --mcp")
    revision = request.headers.get("mcp-protocol-version", REVISIONS[0])
    if revision not in REVISIONS:
        raise StudioError(400, "request", f"MCP-Protocol-Version {revision[:40]!r} is none of {', '.join(REVISIONS)}")
    try:
        asked = json.loads(await request.body())
    except ValueError:
        return _error(request, None, PARSE_ERROR, "this is no JSON")
    if isinstance(asked, dict) and "method" not in asked and ("result" in asked or "error" in asked):
        return Response(status_code=202)  # an answer to a question that was never put
    if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
        return _error(request, None, INVALID_REQUEST, "send one JSON-RPC 2.0 request")
    if "id" not in asked:  # a notification
        return Response(status_code=202)
    given = asked.get("params")
    params = given if isinstance(given, dict) else {}
    if asked["method"] == "tools/call":
        tool = TOOLS.get(str(params.get("name")))
        if tool is None:
            return _error(
                request, asked["id"], INVALID_PARAMS, f"no tool {str(params.get('name'))[:40]!r}: {', '.join(TOOLS)}"
            )
        gate = desk.chores if tool.arguments is GenerateMotion else desk.questions
        return _result(request, asked["id"], await gate.run(lambda: called(desk, tool, params.get("arguments") or {})))
    known = _answers(params).get(asked["method"])
    if known is None:
        return _error(request, asked["id"], NO_METHOD, f"no method {asked['method'][:40]!r}")
    return _result(request, asked["id"], known)


def _answers(params: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What needs no tool."""
    from remora import __version__

    wanted = params.get("protocolVersion")
    return {
        "initialize": {
            "protocolVersion": wanted if wanted in REVISIONS else REVISIONS[0], "capabilities": {"tools": {}},
            "serverInfo": {"name": "remora", "version": __version__},
            "instructions": "A library of human motion: search it by sentence or clip, describe clips, generate new motion.",
        },
        "ping": {},
        "tools/list": {"tools": [tool.card() for tool in TOOLS.values()]},
    }  # fmt: skip


def called(desk: Desk, tool: Offered, arguments: Any) -> dict[str, Any]:
    """The result of a tool, or what is wrong with the call."""
    try:
        body = to_json(tool.work(desk, tool.arguments.model_validate(arguments)))
    except ValidationError as error:
        first = error.errors()[0]
        return _said(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", failed=True)
    except Exception as error:
        known = as_studio_error(error)
        if known is None:
            raise
        return _said(str(known), failed=True)
    return _said(body.decode()) | {"structuredContent": json.loads(body)}


def _said(text: str, *, failed: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def _result(request: Request, number: Any, result: dict[str, Any]) -> Response:
    return reply(request, to_json({"jsonrpc": "2.0", "id": number, "result": result}), cache="no-store")


def _error(request: Request, number: Any, code: int, text: str) -> Response:
    error = {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": text}}
    return reply(request, to_json(error), cache="no-store")
