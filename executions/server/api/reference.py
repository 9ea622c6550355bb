"""The reference of the API as a page of ours, made from its description; nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from executions.server.addresses import base_of
from executions.server.html import document

router = APIRouter(include_in_schema=False)


@router.get("/api")
def api_reference(request: Request) -> HTMLResponse:
    """Show every operation. Open to everybody, as the description is: both are part of the documentation."""
    found: dict[str, Any] = request.app.openapi()
    base = escape(base_of(request))
    head = f"<h1>The API</h1><p>{escape(found['info']['description'])}</p>"
    head += f'<p>For tools: <a href="{base}/api/openapi.json">OpenAPI 3.1</a></p>'
    return HTMLResponse(document("The API", head + "".join(_operations(found)), base))


def _operations(found: dict[str, Any]) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {}
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation.get("tags", [""])[0], []).append(_operation(path, method, operation))
    for tag, operations in by_tag.items():
        yield f"<h2>{escape(tag.capitalize())}</h2>{''.join(operations)}"


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = "".join(_parameter(one) for one in operation.get("parameters", ()))
    table = f"<table><tbody>{rows}</tbody></table>" if rows else ""
    answers = "".join(
        f"<li><code>{status}</code> {escape(one.get('description', ''))}</li>"
        for status, one in operation["responses"].items()
    )
    return (
        f'<section id="{escape(operation["operationId"])}"><h3><code>{method.upper()} {escape(path)}</code></h3>'
        f"<p>{escape(operation.get('description', ''))}</p>{table}<ul>{answers}</ul></section>"
    )


def _parameter(one: dict[str, Any]) -> str:
    needed = "needed" if one.get("required") else "optional"
    about = escape(one.get("description", ""))
    return (
        f'<tr><th scope="row"><code>{escape(one["name"])}</code></th><td>{escape(one["in"])}</td><td>{needed}</td>'
        f"<td>{about}</td></tr>"
    )
