"""What every page stands on: the templates, who asks what of which client, forms, and what a page says of an error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from executions.access import Role
from executions.errors import Changed, Conflict, ExecutionsError, InvalidInput, NotFound, Unavailable
from executions.server import charts
from executions.server.addresses import address, base_of, path_of
from executions.server.pages import words
from executions.server.problems import Problem as Refusal
from executions.version import VERSION

FOLDER = Path(__file__).parent.parent
STATIC = FOLDER / "static"

#: Bytes of a form that are read; inputs larger than that come by the API or from Python.
FORM_BYTES = 1 << 20

#: The themes that can be chosen; without a choice the page looks as the system does.
THEMES = ("light", "dark")

_STATUS_CODES: tuple[tuple[type[ExecutionsError], int, str], ...] = (
    (NotFound, 404, "Not found"),
    (Changed, 412, "It has changed meanwhile"),
    (Conflict, 409, "Not possible now"),
    (InvalidInput, 422, "That cannot be used"),
    (Unavailable, 503, "The registry does not answer"),
)


def _digest() -> str:
    """Give a text that changes with any of the static files, so that browsers may keep them for ever."""
    whole = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(words.FILTERS)
    found.globals.update(version=VERSION, edition=_digest(), now=words.now, Role=Role, charts=charts)
    return found


_templates = _environment()


def text_of(request: Request, template: str, **context: Any) -> str:
    """Fill in a template."""
    theme = request.cookies.get("theme")
    return _templates.get_template(template).render(
        base=base_of(request),
        path=path_of(request) or "/",
        here=_here(request),
        theme=theme if theme in THEMES else "",
        said=_said(request.query_params),
        who=getattr(request.state, "who", None),
        **context,
    )


def render(request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Answer with a page."""
    return HTMLResponse(text_of(request, template, **context), status, {"Cache-Control": "no-store"})


def redirect(request: Request, path: str, **query: Any) -> RedirectResponse:
    """Send the browser on to a page of ours after a form."""
    return RedirectResponse(address(request, link(path, **query)), 303)


def link(path: str, **query: Any) -> str:
    """Write a path with a query, without what is empty."""
    given = [(key, value) for key, value in query.items() if value not in (None, "", ())]
    joint = "&" if "?" in path else "?"
    return path + (joint + urlencode(given, doseq=True) if given else "")


def back_to(request: Request, path: str | None, otherwise: str) -> str:
    """Give the page of ours that a form wants to go back to: a path, never another host."""
    base = base_of(request)
    asked = (path or "").removeprefix(base)
    return asked if asked.startswith("/") and asked[1:2] not in ("/", "\\") else otherwise


class Form(dict[str, str]):
    """What a form sent: the last value of each field, and all of those that come several times."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def all(self, name: str) -> list[str]:
        """Give every value of a field."""
        return [value for key, value in self.pairs if key == name]

    def text(self, name: str) -> str:
        """Give a field without space around it; empty where it is missing."""
        return self.get(name, "").strip()


async def read_form(request: Request) -> Form:
    """Read a form of moderate size."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > FORM_BYTES:
            raise HTTPException(413, "the form is larger than 1 MiB; send that through the API")
    return Form(parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=2000))


Sent = Annotated[Form, Depends(read_form)]


class PageRoute(APIRoute):
    """A route whose errors are pages too."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Wrap the handler."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except ExecutionsError as error:
                return problem(request, error)
            except Refusal as error:
                if error.slug == "unauthenticated":
                    raise  # who signs in comes back to where they wanted to go
                return render(request, "problem.html", error.kind.status, title=error.kind.title, message=error.detail)

        return handled


def problem(request: Request, error: ExecutionsError) -> Response:
    """Answer with a page that says what went wrong."""
    code, title = next(
        ((code, title) for kind, code, title in _STATUS_CODES if isinstance(error, kind)), (500, "Error")
    )
    return render(request, "problem.html", code, title=title, message=str(error))


def _here(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return address(request, path_of(request)) + query


#: What a page says after an action. Only these words can come out of a link.
_SAID = {
    "terminate": "Asked it to stop.",
    "cancel": "Cancelled before it started.",
    "rerun": "Rerun: queued once more.",
    "launch": "Launched.",
    "relaunch": "Relaunched as a new execution.",
    "pause": "Paused. What is submitted waits; what runs goes on.",
    "resume": "Resumed.",
    "update": "Saved. What starts from now on follows the new policy.",
    "view": "Kept. The address of this page shows it to others, if it is shared.",
    "view-gone": "The view is gone. Executions are not touched by that.",
    "columns": "This browser remembers that.",
    "edit": "Saved.",
    "note": "Noted.",
    "drain": "Draining: it takes nothing new, and what runs there goes on.",
    "undrain": "It takes work again.",
}


def _said(query: Mapping[str, str]) -> str:
    return _SAID.get(query.get("done", ""), "")
