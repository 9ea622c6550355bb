"""The style sheet, the modules and the pictures: files of ours, by their names."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse

from executions.server.pages.site import STATIC

router = APIRouter(include_in_schema=False)

_FILES = {path.name: path for path in STATIC.iterdir()}
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@router.get("/static/{name}")
def static(request: Request, name: str) -> Response:
    """Give a file; one that is asked for by its edition never changes."""
    path = _FILES.get(name)
    if path is None:
        raise HTTPException(404, f"no file {name[:100]!r}")
    kept = "public, max-age=31536000, immutable" if "v" in request.query_params else "no-cache"
    return FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": kept})
