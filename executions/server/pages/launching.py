"""Start an execution: a function with its inputs, or an earlier execution with some of its inputs changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from executions.annotation import read
from executions.client import Client
from executions.errors import Conflict, InvalidInput, NotFound
from executions.execution import Execution
from executions.function import Function
from executions.server.audit import describe
from executions.server.pages.site import Form, PageRoute, Sent, redirect, render
from executions.server.security.require import Operating, Viewing

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: What the form's names of inputs begin with, so that no input can be taken for an option.
PREFIX = "input."

_WORDS = ("name", "queue", "pipeline", "stage", "service")
_NUMBERS = ("execution_timeout", "max_attempts")


@dataclass(frozen=True)
class Field:
    """One input in the form."""

    name: str
    text: str
    required: bool
    #: What its annotation says.
    says: str = ""
    #: What the function takes where nothing is given, as it is written there.
    default: str = ""


@router.get("/executions/new")
def new(request: Request, client: Viewing) -> Response:
    """Show the form: first which function, then its inputs."""
    query = request.query_params
    if query.get("from"):
        return _relaunch_form(request, client, query["from"], Form([]))
    return _launch_form(request, client, query.get("function", "").strip(), Form([]))


@router.post("/executions/new", name="launch_execution")
def launch(request: Request, client: Operating, sent: Sent) -> Response:
    """Start it, and lead to its page."""
    describe(request, sent.get("from") or sent.text("function"))
    if sent.get("from"):
        try:
            execution = _relaunched(client, sent)
        except (InvalidInput, Conflict) as error:
            return _relaunch_form(request, client, sent["from"], sent, error)
        return redirect(request, f"/executions/{execution.id}", done="relaunch")
    try:
        execution = client.submit(sent.text("function"), inputs=_inputs(client, sent), **_options(sent))
    except InvalidInput as error:
        return _launch_form(request, client, sent.text("function"), sent, error)
    return redirect(request, f"/executions/{execution.id}", done="launch")


def write_value(value: Any) -> str:
    """Write a value so that it is read back as it is."""
    if isinstance(value, str) and read(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _launch_form(
    request: Request, client: Client, name: str, sent: Form, error: InvalidInput | None = None
) -> Response:
    functions = client.functions.list()
    function = next((one for one in functions if one.name == name), None)
    return render(
        request,
        "launch.html",
        422 if error else 200,
        functions=functions,
        name=name,
        function=function,
        fields=_fields(function, sent),
        sent=sent,
        error=str(error) if error else "",
        origin=None,
    )


def _relaunch_form(
    request: Request, client: Client, origin_id: str, sent: Form, error: Exception | None = None
) -> Response:
    origin = client.executions.get(origin_id)
    function = _known(client, origin.function)
    says = _annotations(function)
    fields = [
        Field(name, sent.get(PREFIX + name, write_value(value)), False, says.get(name, ""))
        for name, value in _given(client, origin).items()
    ]
    return render(
        request,
        "launch.html",
        422 if error else 200,
        functions=(),
        name=origin.function,
        function=function,
        fields=fields,
        sent=sent,
        error=str(error) if error else "",
        origin=origin,
    )


def _known(client: Client, name: str) -> Function | None:
    try:
        return client.functions.get(name)
    except NotFound:
        return None


def _fields(function: Function | None, sent: Form) -> Sequence[Field]:
    if function is None or function.parameters is None:
        return ()
    return [
        Field(one.name, sent.get(PREFIX + one.name, ""), one.required, one.annotation, one.default)
        for one in function.parameters.each
        if not one.kind.startswith("var_") and one.kind != "positional_only"
    ]


def _given(client: Client, origin: Execution) -> dict[str, Any]:
    """Give the inputs of an execution that can be changed by name."""
    args = list(origin.inputs.get("args") or ())
    known = _known(client, origin.function) if args else None
    names = known.parameters.positional if known and known.parameters else ()
    return dict(zip(names, args, strict=False)) | dict(origin.inputs.get("kwargs") or {})


def _relaunched(client: Client, sent: Form) -> Execution:
    """Start it anew; only what was changed is given, so that what is shown shortened or hidden stays whole."""
    origin = client.executions.get(sent["from"])
    says = _annotations(_known(client, origin.function))
    changed = {
        name: read(sent[PREFIX + name], says.get(name, ""))
        for name, value in _given(client, origin).items()
        if PREFIX + name in sent and sent[PREFIX + name] != write_value(value)
    }
    return origin.relaunch(**(changed | _more(sent)))


def _inputs(client: Client, sent: Form) -> dict[str, Any]:
    """Read the inputs; a field that is not required and was left empty is not given."""
    function = _known(client, sent.text("function"))
    required = function.parameters.required if function and function.parameters else ()
    named = {key.removeprefix(PREFIX): text for key, text in sent.items() if key.startswith(PREFIX)}
    says = _annotations(function)
    chosen = {name: text for name, text in named.items() if text or name in required}
    return {name: read(text, says.get(name, "")) for name, text in chosen.items()} | _more(sent)


def _annotations(function: Function | None) -> dict[str, str]:
    return function.parameters.annotations if function and function.parameters else {}


def _more(sent: Form) -> dict[str, Any]:
    text = sent.text("more")
    found = read(text) if text else {}
    if not isinstance(found, dict):
        raise InvalidInput('further inputs are one JSON object, such as {"epochs": 5}')
    return found


def _options(sent: Form) -> dict[str, Any]:
    found: dict[str, Any] = {name: sent.text(name) for name in _WORDS if sent.text(name)}
    for name in _NUMBERS:
        if sent.text(name):
            found[name] = read(sent.text(name))
    tags = [tag.strip() for tag in sent.text("tags").split(",") if tag.strip()]
    return found | ({"tags": tags} if tags else {})
