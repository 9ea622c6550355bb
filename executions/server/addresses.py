"""Addresses of ours, below whatever path the app is served or mounted at."""

from __future__ import annotations

from starlette.requests import Request


def base_of(request: Request) -> str:
    """Give the path that the app is below; nothing where it has a host to itself."""
    return str(request.scope.get("root_path", ""))


def path_of(request: Request) -> str:
    """Give the path that was asked for, from the app on; a proxy in front may have stripped its prefix, or not."""
    return str(request.scope["path"]).removeprefix(base_of(request))


def address(request: Request, path: str) -> str:
    """Give the address of one of our own paths, as a browser has to ask for it."""
    return f"{base_of(request)}{path}"
