"""The services: what each may do, whether it is paused, how much of it runs."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from executions.client import Client
from executions.errors import Conflict, InvalidInput, InvalidSetting
from executions.policy import ON_RESET
from executions.server.pages.search import term
from executions.server.pages.site import Form, PageRoute, Sent, redirect, render
from executions.server.security.require import Administering, Operating, Viewing
from executions.service import Service
from executions.states import Status

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: The settings of the form: name, what it is, what an empty field means, and what its number counts.
SETTINGS = (
    ("execution_timeout", "Time limit", "", "seconds"),
    ("drain_time", "Drain time", "", "seconds"),
    ("concurrency", "Runs at once", "no limit", ""),
    ("max_attempts", "Attempts", "as the function says", ""),
    ("queue", "Queue", "the function's own", ""),
    ("retry_on", "Retry on", "as the function says", "exception names, with commas"),
    ("give_up_on", "Give up on", "as the function says", "exception names, with commas"),
    ("backoff_delay", "Delay before a retry", "as the function says", "seconds"),
    ("backoff_max", "Longest delay", "as the function says", "seconds"),
)
_LISTS = ("retry_on", "give_up_on")
_FLOATS = ("backoff_delay", "backoff_max")
_WORDS = ("queue", "on_reset")


@router.get("/services")
def services(request: Request, client: Viewing) -> Response:
    """List them."""
    found = client.services.list()
    by_status = {
        status: client.executions.facets(f"status:{status}", by=("service",))["service"]
        for status in (Status.RUNNING, Status.PENDING, Status.FAILED)
    }
    return render(request, "services.html", services=found, counts=by_status)


@router.get("/services/{name}")
def service(request: Request, client: Viewing, name: str) -> Response:
    """Show one with the form for its policy."""
    return _show(request, client, client.services.get(name))


@router.post("/services/{name}", name="change_service")
def update(request: Request, client: Administering, name: str, sent: Sent) -> Response:
    """Put other settings in force, unless somebody else has changed the service meanwhile."""
    found = client.services.get(name)
    try:
        if sent.text("version") != str(found.version):
            raise Conflict(
                f"{found.updated_by or 'somebody'} has changed this service since you opened it: it is at version "
                f"{found.version} now. Nothing was saved; what you changed stands below, beside what is in force."
            )
        for key in (*(setting[0] for setting in SETTINGS), "on_reset"):
            if key in sent:
                setattr(found, key, _value(key, sent.text(key)))
        found.update(force=bool(sent.get("force")))
    except (Conflict, InvalidSetting) as error:
        status = 409 if isinstance(error, Conflict) else 422
        return _show(request, client, found.refresh(), status, str(error), sent)
    return redirect(request, f"/services/{name}", done="update")


@router.post("/services/{name}/pause", name="pause_service")
def pause(request: Request, client: Operating, name: str) -> Response:
    """Let nothing more of it start."""
    client.services.get(name).pause()
    return redirect(request, f"/services/{name}", done="pause")


@router.post("/services/{name}/resume", name="resume_service")
def resume(request: Request, client: Operating, name: str) -> Response:
    """Let what waits start."""
    client.services.get(name).resume()
    return redirect(request, f"/services/{name}", done="resume")


def _show(
    request: Request, client: Client, found: Service, status: int = 200, refused: str = "", sent: Form | None = None
) -> Response:
    counts = client.executions.facets(term("service", found.name), by=("status",))["status"]
    in_force = {key: _text(getattr(found, key)) for key, *_ in SETTINGS} | {"on_reset": found.on_reset}
    return render(
        request,
        "service.html",
        status,
        service=found,
        in_force=in_force,
        values=in_force | _changed(in_force, sent or Form([])),
        settings=SETTINGS,
        on_reset=ON_RESET,
        counts=counts,
        refused=refused,
    )


def _changed(in_force: dict[str, str], sent: Form) -> dict[str, str]:
    """Give what somebody changed in the form: not what was left as it was, and has become something else since."""
    return {key: sent[key] for key in in_force if key in sent and sent[key] != sent.get(f"was.{key}")}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _value(key: str, text: str) -> Any:
    if not text:
        return None
    if key in _LISTS:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if key in _WORDS:
        return text
    try:
        return float(text) if key in _FLOATS else int(text)
    except ValueError:
        raise InvalidSetting(
            f"{key} must be a {'number' if key in _FLOATS else 'whole number'}, not {text!r}"
        ) from None
    except OverflowError:
        raise InvalidInput(f"{key} is too large") from None
