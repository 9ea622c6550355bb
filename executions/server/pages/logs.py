"""What an execution wrote: one attempt's lines in bounded pieces, the newest first seen, every line with an address."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from executions.client import Client
from executions.errors import InvalidInput
from executions.execution import Execution
from executions.logs import LEVELS, LogPage
from executions.server.pages.ansi import to_html, without
from executions.server.pages.detail import around
from executions.server.pages.site import PageRoute, link, render, text_of
from executions.server.pages.words import iso
from executions.server.security.require import Viewing

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: Lines of one page; a page of all of them is sent in pieces of this size.
LINES = 2000

#: Lines that a browser lays out together, or skips while they are out of sight.
CHUNK = 200

#: Characters of one line that a page shows; a download has all of them.
LINE_LENGTH = 16_384


@dataclass(frozen=True)
class Reading:
    """Which lines are asked for."""

    client: Client
    execution: Execution
    attempt: int
    level: str = ""
    q: str = ""
    start: int | None = None
    #: What leads back to the list that somebody came from.
    inside: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, client: Client, execution: Execution, query: Any) -> Reading:
        """Read it from a URL; without an attempt it is the newest."""
        asked, start = query.get("attempt", ""), query.get("from", "")
        for name, text in (("attempt", asked), ("from", start)):
            if text and (not text.isdecimal() or len(text) > 9):
                raise InvalidInput(f"{name} is a whole number, not {text[:20]!r}")
        attempt = int(asked) if asked else max(execution.attempt, 1)
        level = query.get("level", "").upper()
        inside = tuple((name, query[name]) for name in ("in", "at") if query.get(name))
        return cls(client, execution, attempt, level, query.get("q", "").strip(), int(start) if start else None, inside)

    def page(self, after: int, most: int, level: str = "") -> LogPage:
        """Give lines after a number, whatever stands in them."""
        return self.client.executions.log_page(
            self.execution.id, self.attempt, after_line=after, limit=most, level=level or self.level or None
        )

    def url(self, **changes: Any) -> str:
        """Write the URL of these lines with something changed."""
        given = {"attempt": self.attempt, "level": self.level.lower(), "q": self.q, "from": self.start} | changes
        given |= dict(self.inside)
        return link(f"/executions/{self.execution.id}/logs", **given)

    def lines(self, after: int, most: int) -> tuple[Sequence[dict[str, Any]], int, bool]:
        """Give lines after a number, where to read on, and whether there are more."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.page(after, most)
            found += [line for line in page.records if self.q.lower() in without(line["message"]).lower()]
            if not page.more or len(found) >= most:
                return found, page.next_line, page.more
            after = page.next_line


@router.get("/executions/{execution_id}/logs")
def logs(request: Request, client: Viewing, execution_id: str) -> Response:
    """Show the newest lines of an attempt, or those from a line on; `?all` shows every one."""
    reading = Reading.read(client, client.executions.get(execution_id), request.query_params)
    last = client.executions.last_line(execution_id, reading.attempt)
    is_part = not (reading.level or reading.q)
    start = reading.start if reading.start is not None else max(1, last - LINES + 1) if is_part else 1
    context = _context(request, client, reading, last) | {"start": start}
    if "all" in request.query_params:
        return StreamingResponse(_whole(request, reading, context), media_type="text/html; charset=utf-8")
    lines, after, more = reading.lines(max(0, start - 1), LINES)
    context |= {
        "chunks": chunks_of(lines),
        "shown": len(lines),
        "older": reading.url(**{"from": max(1, start - LINES)}) if is_part and start > 1 else "",
        "newer": reading.url(**{"from": after + 1}) if more and after < last else "",
        "after": after,
    }
    return render(request, "logs.html", **context, whole=False)


@router.get("/executions/{execution_id}/logs/lines")
def lines(request: Request, client: Viewing, execution_id: str) -> Response:
    """Give the lines after one, for a page that shows the ones before it."""
    reading = Reading.read(client, client.executions.get(execution_id), request.query_params)
    found, after, more = reading.lines(reading.start or 0, LINES)
    answer = render(request, "lines.html", chunks=chunks_of(found))
    answer.headers["X-After"] = str(after)
    over = reading.execution.is_done or reading.execution.attempt > reading.attempt
    answer.headers["X-Over"] = "1" if over and not more else ""
    return answer


@router.get("/executions/{execution_id}/logs/download")
def download(request: Request, client: Viewing, execution_id: str) -> Response:
    """Give the lines as a file: as text, or one JSON document a line. All attempts, or the one that is asked for."""
    execution = client.executions.get(execution_id)
    query = request.query_params
    reading = Reading.read(client, execution, query)
    view = execution.logs(level=reading.level or None, attempt=reading.attempt if query.get("attempt") else None)
    as_json = query.get("format") == "ndjson"
    name = f'attachment; filename="execution-{execution.number}.{"ndjson" if as_json else "log"}"'
    kept = (line for line in view if reading.q.lower() in without(line["message"]).lower())
    kind = "application/x-ndjson" if as_json else "text/plain; charset=utf-8"
    write = _json_line if as_json else _text_line
    return StreamingResponse(_pieces(kept, write), media_type=kind, headers={"Content-Disposition": name})


def _context(request: Request, client: Client, reading: Reading, last: int) -> dict[str, Any]:
    errors = reading.page(0, 1, "ERROR").records
    return {
        **around(request, client, reading.execution),
        "reading": reading,
        "last": last,
        "levels": LEVELS,
        "first_error": errors[0]["line"] if errors else None,
        "per_page": LINES,
    }


def _whole(request: Request, reading: Reading, context: dict[str, Any]) -> Iterator[str]:
    """Send the page in pieces: a browser shows the first lines while the last are read."""
    mark = "<!-- lines -->"
    ends = {"chunks": [mark], "shown": context["last"], "older": "", "newer": "", "after": context["last"]}
    page = text_of(request, "logs.html", **context | ends, whole=True)
    before, _, behind = page.partition(mark)
    yield before
    after, more = 0, True
    while more:
        lines, after, more = reading.lines(after, LINES)
        yield text_of(request, "lines.html", chunks=chunks_of(lines))
    yield behind


def chunks_of(lines: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Cut lines into pieces, each as a template wants it."""
    shown = [_shown(line) for line in lines]
    return [shown[at : at + CHUNK] for at in range(0, len(shown), CHUNK)]


def _shown(line: dict[str, Any]) -> dict[str, Any]:
    message = line["message"]
    cut = len(message) - LINE_LENGTH
    return {
        "line": line["line"],
        "level": line["level"].lower(),
        "stream": line["stream"],
        "clock": line["timestamp"].strftime("%H:%M:%S.") + f"{line['timestamp'].microsecond // 1000:03d}",
        "html": to_html(message[:LINE_LENGTH]),
        "cut": cut if cut > 0 else 0,
    }


def _pieces(lines: Iterator[dict[str, Any]], write: Any) -> Iterator[str]:
    piece: list[str] = []
    for line in lines:
        piece.append(write(line))
        if len(piece) >= CHUNK:
            yield "".join(piece)
            piece = []
    yield "".join(piece)


def _text_line(line: dict[str, Any]) -> str:
    level = "" if line["level"] == logging.getLevelName(logging.INFO) else f"{line['level']} "
    return f"{iso(line['timestamp'])} {level}{without(line['message'])}\n"


def _json_line(line: dict[str, Any]) -> str:
    return json.dumps({**line, "timestamp": iso(line["timestamp"])}, ensure_ascii=False) + "\n"
