"""Signing in and out, what each kind of problem means, and whether the server is well."""

from __future__ import annotations

from html import escape
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from executions.client.people import LOGIN_WINDOW_S, SESSION_S
from executions.errors import Conflict
from executions.server.addresses import base_of
from executions.server.audit import describe
from executions.server.html import document
from executions.server.problems import Problem, page_of
from executions.server.security.asking import COOKIE, source_of
from executions.server.security.require import access_of, client_of

router = APIRouter(include_in_schema=False)


@router.get("/problems/{slug}")
def problem(request: Request, slug: str) -> HTMLResponse:
    page = page_of(slug, base_of(request))
    if page is None:
        raise Problem("not-found", f"no kind of problem is called {slug!r}")
    return HTMLResponse(page)


@router.get("/login")
def login_form(request: Request, next: str = "") -> HTMLResponse:
    return HTMLResponse(_form(request, next, ""))


@router.post("/login", name="login")
def login(
    request: Request,
    name: Annotated[str, Form(max_length=200)],
    password: Annotated[str, Form(max_length=2000)],
    next: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    source = source_of(request, access_of(request))
    try:
        secret = client_of(request).people.login(name, password, source)
    except Conflict as error:
        raise Problem("too-many-requests", str(error), headers={"Retry-After": str(LOGIN_WINDOW_S)}) from error
    describe(request, f"as {name}")
    if secret is None:
        return HTMLResponse(_form(request, next, "The name or the password is wrong."), 401)
    response = RedirectResponse(_inside(request, next), 303)
    response.set_cookie(
        COOKIE, secret, max_age=SESSION_S, path=base_of(request) or "/", httponly=True, samesite="lax",
        secure=request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https",
    )  # fmt: skip
    return response


@router.post("/logout", name="logout")
def logout(request: Request) -> Response:
    if secret := request.cookies.get(COOKIE):
        client_of(request).people.logout(secret)
    response = RedirectResponse(f"{base_of(request)}/login", 303)
    response.delete_cookie(COOKIE, path=base_of(request) or "/")
    return response


def _inside(request: Request, next: str) -> str:
    """Give where to go on, which is never another site."""
    base = base_of(request)
    is_ours = next.startswith(f"{base}/") and not next.startswith(("//", "/\\")) and next.isprintable()
    return next if is_ours else f"{base}/"


def _form(request: Request, next: str, wrong: str) -> str:
    told = f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
    return document(
        "Sign in",
        f'<h1>Sign in</h1>{told}<form class="stack" method="post" action="{escape(base_of(request))}/login">'
        f'<input type="hidden" name="next" value="{escape(next)}">'
        '<label>Name <input name="name" autocomplete="username" required autofocus></label>'
        '<label>Password <input name="password" type="password" autocomplete="current-password" required></label>'
        '<p><button class="primary">Sign in</button></p></form>',
        base_of(request),
    )
