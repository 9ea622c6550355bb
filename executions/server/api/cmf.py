"""Types and executions of a pipeline, by the addresses and in the words of the Common Metadata Framework.

A thin layer for what was written against its server: pages have numbers, an execution is a number with a list of named
values. What is new should ask `/api/v1/executions`, whose cursors reach any depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from executions.client import Client
from executions.errors import NotFound
from executions.execution import Execution
from executions.query.fields import Match
from executions.query.tree import Term, Word, quote
from executions.server.api.schema import PROBLEMS
from executions.server.problems import Problem
from executions.server.security.require import Viewing

router = APIRouter(tags=["cmf"], responses=PROBLEMS)

#: Rows that a page may lie behind: each of them has to be passed to get there.
REACH = 10_000

#: What their names of a sort mean here. `Context_Type`, the stage, has no order of its own in a registry.
_SORTS = {
    "original_create_time_since_epoch": "created", "created": "created", "started": "started", "finished": "finished",
    "duration": "duration",
}  # fmt: skip

#: The fields behind their names; any other name is that of a property.
_FIELDS = {
    "Context_Type": "stage", "Execution_type_name": "stage", "Pipeline_Type": "pipeline", "Execution": "function",
    "Execution_uuid": "id", "Git_Start_Commit": "commit",
}  # fmt: skip

_Words = Annotated[str, Field(min_length=1, max_length=300)]
Named = Annotated[_Words, Query(description="The pipeline's name.")]
InPath = Annotated[_Words, Path(description="The pipeline's name.")]
Stage = Annotated[
    str, Query(max_length=600, description="A stage, with `pipeline/` in front or without; all if empty.")
]
PageNumber = Annotated[int, Query(ge=1, le=REACH, description="From 1 on.")]
PerPage = Annotated[int, Query(ge=1, le=100)]
SortField = Annotated[
    str, Query(max_length=50, description=f"Context_Type, {', '.join(_SORTS)}. Equal ones go by their creation.")
]
SortOrder = Annotated[Literal["asc", "desc", "ASC", "DESC"], Query()]
FilterBy = Annotated[
    str, Query(max_length=100, description=f"{', '.join(_FIELDS)}, Status, or a property; of all texts if empty.")
]
FilterValue = Annotated[str, Query(max_length=1000, description="What it holds, in any case; a commit begins so.")]


@dataclass(frozen=True)
class Wanted:
    """Which page of a list, in which order, and what is left of it."""

    page: PageNumber = 1
    per_page: PerPage = 5
    sort_field: SortField = "Context_Type"
    sort_order: SortOrder = "asc"
    filter_by: FilterBy = ""
    filter_value: FilterValue = ""


class Stages(BaseModel):
    """The stages of a pipeline, by name."""

    stages: list[str]
    total_stages: int


class Value(BaseModel):
    """One value of an execution."""

    name: str
    value: Any


class Item(BaseModel):
    """An execution."""

    execution_id: int = Field(description="Its number.")
    execution_properties: list[Value]


class Items(BaseModel):
    """One page of executions, and how many there are in all."""

    total_items: int
    complete: bool = Field(description="Whether all were looked at for that; see `count` in the search language.")
    items: list[Item]


@router.get("/execution_types")
def list_execution_types(client: Viewing, pipeline_name: Named) -> list[str]:
    """Give the names of a pipeline's stages. Needs `view`."""
    return _stages(client, pipeline_name)


@router.get("/get_execution_types/{pipeline_name}")
def list_execution_types_of(client: Viewing, pipeline_name: InPath) -> list[str]:
    """Give the names of a pipeline's stages. Needs `view`."""
    return _stages(client, pipeline_name)


@router.get("/list-of-executions/{pipeline_name}")
def list_executions_of_pipeline(client: Viewing, pipeline_name: InPath) -> list[str]:
    """Give the names of a pipeline's stages. Needs `view`."""
    return _stages(client, pipeline_name)


@router.get("/pipeline-stages/{pipeline_name}")
def list_stages(client: Viewing, pipeline_name: InPath) -> Stages:
    """Give the names of a pipeline's stages, and their number. Needs `view`."""
    found = _stages(client, pipeline_name)
    return Stages(stages=found, total_stages=len(found))


@router.get("/display_executions")
def display_executions(
    client: Viewing, pipeline_name: Named, wanted: Annotated[Wanted, Depends()], type: Stage = ""
) -> Items:
    """Give a page of a pipeline's executions with their values. Needs `view`."""
    return _page(client, _asked(client, pipeline_name, type, wanted.filter_by, wanted.filter_value), wanted)


@router.get("/display_executions/{pipeline_name}")
def display_executions_of(client: Viewing, pipeline_name: InPath, wanted: Annotated[Wanted, Depends()]) -> Items:
    """Give a page of a pipeline's executions with their values. Needs `view`."""
    return _page(client, _asked(client, pipeline_name, "", wanted.filter_by, wanted.filter_value), wanted)


@router.get("/executions-by-stage/{pipeline_name}")
def list_executions_by_stage(
    client: Viewing,
    pipeline_name: InPath,
    stage_name: Stage = "",
    active_page: PageNumber = 1,
    record_per_page: PerPage = 5,
    sort_order: SortOrder = "DESC",
    filter_value: FilterValue = "",
) -> Items:
    """Give a page of the executions of a stage, by their creation. Needs `view`."""
    asked = _asked(client, pipeline_name, stage_name, "", filter_value)
    return _page(client, asked, Wanted(active_page, record_per_page, "created", sort_order))


def _in(client: Client, pipeline: str) -> str:
    """Give the query of a pipeline; raises `NotFound` where nothing is in it."""
    asked = f"pipeline={quote(pipeline)}"
    if not client.executions.count(asked):
        raise NotFound(f"no pipeline {pipeline[:100]!r}: nothing was ever run in it, or all of that was removed")
    return asked


def _stages(client: Client, pipeline: str) -> list[str]:
    return sorted(client.executions.facets(_in(client, pipeline), by=["stage"])["stage"])


def _asked(client: Client, pipeline: str, stage: str, filter_by: str, filter_value: str) -> str:
    asked = [_in(client, pipeline)]
    if stage:
        asked.append(f"stage={quote(stage.removeprefix(f'{pipeline}/'))}")
    if filter_value:
        asked.append(_condition(pipeline, filter_by, filter_value))
    return " AND ".join(asked)


def _condition(pipeline: str, name: str, text: str) -> str:
    if not name:
        return str(Word(text))
    if name == "Status":
        return f"status:{quote(text)}"
    match = Match.BEGINS if name == "Git_Start_Commit" else Match.HOLDS
    held = text.removeprefix(f"{pipeline}/") if name == "Context_Type" else text
    return str(Term(_FIELDS.get(name, f"property.{name}"), (held,), match)) if held else f"pipeline={quote(pipeline)}"


def _page(client: Client, asked: str, wanted: Wanted) -> Items:
    end = wanted.page * wanted.per_page
    if end > REACH:
        raise Problem("validation", f"pages end at {REACH:,} executions; /api/v1/executions goes on", errors=[])
    count = client.executions.count(asked)
    rows = islice(_ordered(client, asked, wanted.sort_field, wanted.sort_order), end - wanted.per_page, end)
    found = client.executions.whole(one.id for one in rows)
    return Items(total_items=count, complete=count.complete, items=[_item(one) for one in found])


def _ordered(client: Client, asked: str, field: str, order: str) -> Iterator[Execution]:
    sign = "-" if order.lower() == "desc" else ""
    if field in _SORTS:
        return client.executions.iterate(asked, sort=f"{sign}{_SORTS[field]}")
    if field != "Context_Type":
        raise Problem("validation", f"there is no order by {field!r}: Context_Type, {', '.join(_SORTS)}", errors=[])
    stages = client.executions.facets(asked, by=["stage"])["stage"]
    listed = [f"{asked} AND stage={quote(stage)}" for stage in sorted(stages, reverse=bool(sign))]
    # What has no stage comes last in either order, as what has no value does everywhere.
    return _one_after_the_other(client, [*listed, f"{asked} AND -has:stage"])


def _one_after_the_other(client: Client, queries: Sequence[str]) -> Iterator[Execution]:
    return chain.from_iterable(client.executions.iterate(one) for one in queries)


def _item(execution: Execution) -> Item:
    values = [Value(name=name, value=value) for name, value in _values(execution) if value is not None]
    return Item(execution_id=execution.number, execution_properties=values)


def _values(e: Execution) -> Iterable[tuple[str, Any]]:
    yield "Context_Type", "/".join(part for part in (e.pipeline, e.stage) if part)
    yield "Execution_type_name", e.stage
    yield "Pipeline_Type", e.pipeline
    yield "Execution", e.function
    yield "Execution_uuid", e.id
    yield "Name", e.name
    yield "Status", e.status
    yield "Started", e.started
    yield "Finished", e.finished
    yield "Duration", e.duration
    if e.code:
        yield "Git_Repo", e.code.repository
        yield "Git_Start_Commit", e.code.commit
        yield "Git_End_Commit", (e.ran or e.code).commit
    yield from e.properties.items()
    yield from e.latest_metrics.items()
