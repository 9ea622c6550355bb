"""The description of the API: OpenAPI 3.1, made from the routes, and what it says of problems and of who may ask."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from executions.server import problems
from executions.server.addresses import base_of
from executions.server.security.asking import COOKIE

_ABOUT = """Everything that the pages show and do, for programs. Times are RFC 3339 in UTC. Whatever goes wrong is
told as a problem (RFC 9457), whose `type` leads to a page about it. Programs send `Authorization: Bearer` with a
token; the roles are `view`, `operate` and `admin`, and each operation names the one that it needs."""

_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "description": "The address of the page about this kind of problem."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The id of the request, also in the log and in X-Request-ID."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["loc", "msg"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                    "position": {"type": ["integer", "null"], "description": "Where in the query's text."},
                },
            },
        },
        "current_status": {"type": "string", "description": "What the execution's status is."},
    },
}


def told(status: int) -> dict[str, Any]:
    """Describe a problem's answer."""
    slugs = ", ".join(slug for slug, kind in problems.KINDS.items() if kind.status == status)
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": f"A problem: {slugs}", "content": {problems.MEDIA_TYPE: {"schema": schema}}}


#: What every operation may answer besides what it is for.
PROBLEMS: dict[int | str, dict[str, Any]] = {status: told(status) for status in (401, 403, 404, 422, 431, 503)}

#: What an operation may answer that changes something.
CONFLICT: dict[int | str, dict[str, Any]] = {409: told(409)}


#: What an operation may answer that takes a body.
TOO_LARGE: dict[int | str, dict[str, Any]] = {413: told(413)}

#: What an operation may answer that takes an `If-Match`.
CHANGED: dict[int | str, dict[str, Any]] = {412: told(412)}


def operation_id(route: APIRoute) -> str:
    """Give the id of an operation: the name of its function, which is also what the audit log says."""
    return route.name


def describe_api(app: FastAPI) -> None:
    """Serve the description at `/api/openapi.json`."""

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
            for path, operations in found["paths"].items():
                for operation in operations.values() if path.startswith("/api/v1/") else ():
                    # Also where a router of another part did not say so; FastAPI has an answer of its own for 422.
                    operation["responses"] |= {str(status): answer for status, answer in PROBLEMS.items()}
            parts = found.setdefault("components", {})
            parts.setdefault("schemas", {})["Problem"] = _PROBLEM_SCHEMA
            parts["securitySchemes"] = {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            }
            found["security"] = [{"token": []}, {"session": []}]
            app.openapi_schema = found
        return app.openapi_schema

    def openapi_json(request: Request) -> JSONResponse:
        base = base_of(request)
        return JSONResponse(description() | ({"servers": [{"url": base}]} if base else {}))

    app.openapi = description  # type: ignore[method-assign]
    app.add_api_route("/api/openapi.json", openapi_json, include_in_schema=False, name="openapi_json")


def is_match(if_match: str, etag: str) -> bool:
    """Tell whether what an `If-Match` names is what is there: the very ETag, or any."""
    return if_match.strip() == "*" or etag in (one.strip() for one in if_match.split(","))
