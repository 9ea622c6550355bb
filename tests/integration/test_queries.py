"""Listing: what a query gives is what a plain look at every record gives, in order, page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.listing import Filler
from executions import ids
from executions.errors import InvalidInput, InvalidQuery, NotFound, Unavailable
from executions.execution import Execution
from executions.registry import indexes, selection, walks
from executions.registry.connection import client_for
from executions.registry.queries import Queries
from executions.registry.space import Space
from executions.settings import Settings
from tests.integration.randomly import ENDINGS, Registry, filled_registry, make_registry


@pytest.fixture(params=[1, 16], ids=["1 shard", "16 shards"])
def registry(request: pytest.FixtureRequest, server_url: str, namespace: str) -> Registry:
    return make_registry(server_url, namespace, request.param)


@pytest.fixture(scope="module", params=[1, 16], ids=["1 shard", "16 shards"])
def filled(request: pytest.FixtureRequest, server_url: str) -> Iterator[Registry]:
    """A registry of a few hundred executions that no test changes."""
    yield from filled_registry(server_url, request.param)


def walk(queries: Queries, query: str | None, sort: str, limit: int, cursor: str | None = None) -> list[str]:
    found: list[str] = []
    while True:
        page = queries.page(query, sort, limit, cursor)
        assert len(page) <= limit
        found += [execution.id for execution in page]
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


SORTS = ("created", "-created", "started", "-started", "finished", "-finished", "duration", "-duration")

QUERIES: dict[str, Callable[[Execution], bool]] = {
    "": lambda e: True,
    "status:failed": lambda e: e.status == "failed",
    "status:completed,aborted": lambda e: e.status in ("success", "terminated"),
    "-status:success": lambda e: e.status != "success",
    "queue:gpu AND status:running": lambda e: e.queue == "gpu" and e.status == "running",
    "function:tasks.train worker:celery@two": lambda e: e.function == "tasks.train" and e.worker == "celery@two",
    'function:"a/b c" not queue:cpu': lambda e: e.function == "a/b c" and e.queue != "cpu",
    "pipeline=mnist type!=fit": lambda e: e.pipeline == "mnist" and e.stage != "fit",
    'tag:nightly tag:"x,y"': lambda e: {"nightly", "x,y"} <= set(e.tags),
    'tag:"say \\"hi\\"","gpu box"': lambda e: bool({'say "hi"', "gpu box"} & set(e.tags)),
    "reason:timeout": lambda e: e.reason == "timeout",
    "-reason:timeout status:failed": lambda e: e.status == "failed" and e.reason != "timeout",
    "user:ann@host service:trainer": lambda e: e.principal == "ann@host" and e.service == "trainer",
    "commit:0123abcd -branch:main": lambda e: bool(e.code and e.code.commit == "0123abcd" and e.code.branch != "main"),
    "queue:nowhere": lambda e: False,
    'name:"name 3","name 4","name 5"': lambda e: e.name in ("name 3", "name 4", "name 5"),
}


def test_without_anything_the_list_is_empty(registry: Registry) -> None:
    # Given a registry nothing was submitted to
    # I expect an empty page, no counts and no facets
    assert len(registry.queries.page()) == 0
    assert registry.queries.count() == 0
    assert dict(registry.queries.facets(by="status")["status"]) == {}
    for sort in SORTS:
        assert walk(registry.queries, "status:failed duration:>1s", sort, 5) == []


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_gives_what_a_look_at_every_record_gives(filled: Registry, query: str) -> None:
    chosen = [execution for execution in filled.all() if QUERIES[query](execution)]
    for sort in SORTS:
        for limit in (7, 500):
            assert walk(filled.queries, query, sort, limit) == filled.sorted(sort, chosen), sort
    assert filled.queries.count(query) == len(chosen)


def test_a_tree_is_found_by_its_root_and_its_parent(filled: Registry) -> None:
    everything = filled.all()
    roots = Counter(execution.root_id for execution in everything)
    for root, size in roots.most_common(5):
        chosen = [execution for execution in everything if execution.root_id == root]
        assert len(chosen) == size > 1
        assert walk(filled.queries, f"root:{root}", "created", 3) == filled.sorted("created", chosen)
        children = [execution for execution in everything if execution.parent_id == root]
        assert walk(filled.queries, f"parent:{root}", "-started", 3) == filled.sorted("-started", children)
        assert walk(filled.queries, f"id:{root}", "-duration", 3) == [root]
        assert filled.queries.count(f"root:{root} -id:{root}") == size - 1


@pytest.mark.parametrize("name", ["created", "started", "finished"])
def test_ranges_of_time_are_exact_to_the_microsecond(filled: Registry, name: str) -> None:
    everything = filled.all()
    times = sorted(at for execution in everything if (at := getattr(execution, name)))
    for _ in range(6):
        low, high = sorted(filled.rng.sample(times, 2))
        query = f"{name}:{low.isoformat()} TO {high.isoformat()} -status:pending"
        chosen = [
            execution
            for execution in everything
            if (at := getattr(execution, name)) and low <= at <= high and execution.status != "pending"
        ]
        for sort in ("-created", "started", "-duration", f"-{name}"):
            assert walk(filled.queries, query, sort, 20) == filled.sorted(sort, chosen), (query, sort)
        assert filled.queries.count(query) == len(chosen)
        open_ended = f"{name}:>{low.isoformat()} {name}:<{high.isoformat()}"
        assert filled.queries.count(open_ended) == sum(low < at < high for at in times)


def test_ranges_of_duration_leave_out_what_never_ran(filled: Registry) -> None:
    everything = filled.all()
    lengths = sorted(length for e in everything if (length := filled.duration(e)) is not None)
    middle = lengths[len(lengths) // 2]
    us = round(middle * 1_000_000)
    longer = [e for e in everything if (length := filled.duration(e)) is not None and length > middle]
    assert walk(filled.queries, f"duration:>{us}us", "duration", 9) == filled.sorted("duration", longer)
    assert filled.queries.count(f"duration:<={us}us") == len(lengths) - len(longer)
    assert filled.queries.count(f"duration:<={us}us status:success") == sum(
        e.status == "success" and (filled.duration(e) or 99) <= middle for e in everything
    )


def test_relative_times_count_from_the_servers_now(filled: Registry) -> None:
    assert filled.queries.count("created:-1h") == len(filled.ids)
    assert filled.queries.count("created:<-1h") == 0
    assert len(walk(filled.queries, "created:>-1h started:today,".rstrip(","), "-started", 50)) > 0


@pytest.mark.parametrize("small_span", [0, 2000])
@pytest.mark.parametrize("gather_few", [0, 5000])
def test_every_way_to_answer_gives_the_same(
    filled: Registry, monkeypatch: pytest.MonkeyPatch, small_span: int, gather_few: int
) -> None:
    # Given that the choice between the ways depends on sizes that a test does not reach
    monkeypatch.setattr(selection, "SMALL_SPAN", small_span)
    monkeypatch.setattr(walks, "_GATHER_FEW", gather_few)
    monkeypatch.setattr(walks, "_FIRST_STEP", 12)
    monkeypatch.setattr(walks, "_TESTED_AT_ONCE", 3)
    monkeypatch.setattr(selection, "SCORES_AT_ONCE", 16)
    monkeypatch.setattr(walks, "SCORES_AT_ONCE", 16)
    monkeypatch.setattr(indexes, "FIELDS_AT_ONCE", 2)
    everything = filled.all()
    start = sorted(execution.created for execution in everything if execution.created)[150]
    chosen = [
        e
        for e in everything
        if e.status != "failed" and e.started and e.started > start and filled.duration(e) is not None
    ]
    query = f"-status:failed started:>{start.isoformat()} duration:>0s"
    for sort in SORTS:
        assert walk(filled.queries, query, sort, 10) == filled.sorted(sort, chosen), sort
    assert filled.queries.count(query) == len(chosen)


def test_a_page_whose_budget_is_spent_is_short_and_goes_on(filled: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given that a page may only read very little
    monkeypatch.setattr("executions.registry.queries._PAGE_WORK", 8)
    monkeypatch.setattr("executions.registry.queries._SHARD_WORK", 8)
    monkeypatch.setattr(walks, "_FIRST_STEP", 12)
    chosen = [execution for execution in filled.all() if execution.reason == "timeout"]
    # I expect short pages that in the end give everything, in order
    for sort in SORTS:
        assert walk(filled.queries, "reason:timeout", sort, 50) == filled.sorted(sort, chosen), sort


def test_a_server_that_forgot_its_scripts_answers_all_the_same(filled: Registry) -> None:
    # Given a server that was started anew, so that it knows no script
    client_for(filled.space.url).script_flush()
    # I expect what a list reads by a script to be there
    everything = filled.sorted("-created", filled.all())
    client_for(filled.space.url).script_flush()
    assert walk(filled.queries, None, "-created", 50) == everything


def test_what_could_be_done_without_never_takes_the_better_half_of_a_budget() -> None:
    # Given a budget, when much is read beforehand to make the rest quicker
    budget = indexes.Budget(1000)
    taken = [amount for amount in (600, 500, 300, 250, 125, 60) if budget.affords(amount)]
    # I expect room for the walk itself, however much is asked for
    assert (taken, budget.left) == ([500, 250, 125, 60], 65)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("query", ["", "-status:failed", "queue:gpu"])
def test_no_gaps_and_no_repeats_while_rows_are_added(registry: Registry, sort: str, query: str) -> None:
    for _ in range(120):
        registry.add()
    before = registry.sorted(sort, [e for e in registry.all() if _seen(query, e)])
    found: list[str] = []
    shown: list[Execution] = []
    cursor: str | None = None
    while True:
        page = registry.queries.page(query, sort, 9, cursor)
        shown += page
        found = [execution.id for execution in shown]
        cursor = page.next_cursor
        if cursor is None:
            break
        if len(registry.ids) < 200:
            for _ in range(5):
                registry.add()
    assert len(found) == len(set(found))
    assert [known for known in found if known in set(before)] == before
    if sort == "-created":
        # Newest first, nothing that came later shows up at all.
        assert found == before
    # What was added shows up in its place or not at all.
    assert found == registry.sorted(sort, shown)


@pytest.mark.parametrize("sort", ["duration", "-duration"])
@pytest.mark.parametrize("added_to", range(3))
@pytest.mark.parametrize("limit", range(1, 5))
def test_what_is_added_with_an_equal_value_keeps_its_place_too(
    server_url: str, namespace: str, sort: str, added_to: int, limit: int
) -> None:
    # Given executions in three shards, all of one duration, and a page that ends among them
    registry = make_registry(server_url, namespace, 3)
    for shard in (0, 1, 1, 1, 2):
        _add_of_one_duration(registry, shard)
    before = walk(registry.queries, None, sort, 50)
    first = registry.queries.page(None, sort, limit)
    # If one more like them is added
    added = _add_of_one_duration(registry, added_to)
    # I expect the pages to be part of the list as it is now, without a gap
    found = [*(one.id for one in first), *walk(registry.queries, None, sort, 1, first.next_cursor)]
    now = walk(registry.queries, None, sort, 50)
    assert [one for one in found if one != added] == before
    assert found == [one for one in now if one in found]


def _add_of_one_duration(registry: Registry, shard: int) -> str:
    made = registry.submit(ids.new_id(shard))
    registry.transitions.start(made, 1, worker="celery@one", pid=7, pool="solo")
    registry.transitions.finish(made, 1, ENDINGS[0])
    keys, number = registry.space.keys(made), registry.queries.get(made).number
    registry.space.client.zadd(keys.duration, {str(number // registry.space.shards): 1024})
    return made


def _seen(query: str, execution: Execution) -> bool:
    return {"": True, "-status:failed": execution.status != "failed", "queue:gpu": execution.queue == "gpu"}[query]


def test_facets_equal_counts(filled: Registry) -> None:
    everything = filled.all()
    for query in ("", "status:failed", "status:failed,running", "queue:gpu -status:pending", "reason:error"):
        chosen = [
            e
            for e in everything
            if (query != "reason:error" or e.reason == "error")
            and all(
                (
                    query != "status:failed" or e.status == "failed",
                    query != "status:failed,running" or e.status in ("failed", "running"),
                    query != "queue:gpu -status:pending" or (e.queue == "gpu" and e.status != "pending"),
                )
            )
        ]
        facets = filled.queries.facets(query, by=("status", "function", "type", "worker"))
        assert list(facets) == ["status", "function", "stage", "worker"]
        for name, facet in facets.items():
            expected = Counter(value for e in chosen if (value := getattr(e, name)))
            assert dict(facet) == expected
            assert facet.complete
            assert list(facet.values()) == sorted(facet.values(), reverse=True)


def test_facets_by_bitmap_equal_facets_by_record(filled: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    by = ("status", "function", "queue")
    read = filled.queries.facets("pipeline:mnist", by)
    monkeypatch.setattr("executions.registry.facets._READ_AT_MOST", 0)
    monkeypatch.setattr("executions.registry.facets.FIELDS_AT_ONCE", 3)
    assert filled.queries.facets("pipeline:mnist", by) == read


def test_facets_of_an_uncounted_field_are_refused(filled: Registry) -> None:
    with pytest.raises(InvalidInput, match="cannot count by 'tag'"):
        filled.queries.facets(by=["tag"])


def test_a_cursor_of_another_query_order_or_registry_is_refused(filled: Registry) -> None:
    cursor = filled.queries.page("queue:gpu -status:failed", "-created", 2).next_cursor
    assert cursor
    # The same query in another order of words is the same query
    assert len(filled.queries.page("-status:failed AND queue:gpu", "-created", 2, cursor)) == 2
    for query, sort in (("queue:cpu", "-created"), ("queue:gpu -status:failed", "created"), (None, "-started")):
        with pytest.raises(InvalidQuery, match="another query"):
            filled.queries.page(query, sort, 2, cursor)
    for garbage in ("", "x", "ab" * 50, cursor[:-3], cursor + "AAAA", "é", "A" * 500_000):
        if garbage:
            with pytest.raises(InvalidQuery):
                filled.queries.page("queue:gpu -status:failed", "-created", 2, garbage)


@pytest.mark.parametrize("limit", [0, 501, -1, 1.5, True, "50"])
def test_a_limit_out_of_bounds_is_refused(filled: Registry, limit: object) -> None:
    with pytest.raises(InvalidInput, match="limit must be"):
        filled.queries.page(limit=limit)  # type: ignore[arg-type]


def test_an_unknown_sort_is_refused_with_what_is_known(filled: Registry) -> None:
    with pytest.raises(InvalidQuery, match="did you mean 'finished'"):
        filled.queries.page(sort="-finishd")


def test_an_execution_is_found_by_id_and_by_number(filled: Registry) -> None:
    assert filled.space.shards in (1, 16)
    for execution_id in filled.ids[:40]:
        execution = filled.queries.get(execution_id)
        assert filled.queries.by_number(execution.number).id == execution_id
        assert filled.queries.find(str(execution.number)).id == filled.queries.find(execution_id).id == execution_id
    numbers = [one.number for one in filled.all()]
    assert len(set(numbers)) == len(numbers)
    many = filled.queries.get_many([*filled.ids[:5], "unknown", *filled.ids[5:7]])
    assert [execution.id for execution in many] == filled.ids[:7]


def test_where_an_id_looks_like_a_number_it_is_the_id_that_is_found(registry: Registry) -> None:
    first = registry.queries.get(registry.submit())
    odd = registry.submit(str(first.number))
    assert registry.queries.find(str(first.number)).id == odd
    assert registry.queries.by_number(first.number).id == first.id


def test_what_is_unknown_is_not_found(filled: Registry) -> None:
    queries = filled.queries
    for ask in (lambda: queries.get("unknown"), lambda: queries.by_number(10**9), lambda: queries.find(str(10**9))):
        with pytest.raises(NotFound):
            ask()
    for ask in (lambda: filled.queries.get(""), lambda: filled.queries.by_number(0)):
        with pytest.raises(InvalidInput):
            ask()
    assert filled.queries.count("id:unknown") == 0
    assert len(filled.queries.page("root:unknown")) == 0


def test_iterate_gives_everything_and_binds_it(filled: Registry) -> None:
    bound: list[str] = []

    def bind(execution: Execution) -> Execution:
        bound.append(execution.id)
        return execution

    queries = Queries(filled.space, bind)
    found = [execution.id for execution in queries.iterate("status:success", batch=10)]
    assert found == bound
    assert len(found) == queries.count("status:success")


def test_a_page_draws_itself_in_a_notebook(filled: Registry) -> None:
    assert filled.queries.page(limit=3)._repr_html_().count("<tr>") == 4


def test_records_that_are_gone_are_passed_over(registry: Registry) -> None:
    for _ in range(60):
        registry.add()
    gone = set(registry.ids[10:40])
    client = client_for(registry.space.url)
    for execution_id in gone:
        client.delete(registry.space.keys(execution_id).record(execution_id))
    left = [execution_id for execution_id in registry.ids if execution_id not in gone]
    assert walk(registry.queries, None, "created", 7) == left


def test_broken_bytes_in_a_record_do_not_break_its_list(registry: Registry) -> None:
    execution_id = registry.submit()
    client_for(registry.space.url).hset(registry.space.keys(execution_id).record(execution_id), "msg", b"\xff\xfe")
    assert registry.queries.page()[0].message == "\ufffd\ufffd"
    assert registry.queries.get(execution_id).message == "\ufffd\ufffd"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    queries = Queries(Space(Settings(url="redis://127.0.0.1:1/0")))
    for ask in (lambda: queries.page(), lambda: queries.count("status:failed"), lambda: queries.get("x")):
        with pytest.raises(Unavailable):
            ask()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_combination_equals_the_predicates_combined(filled: Registry, data: st.DataObject) -> None:
    everything = filled.all() if not hasattr(filled, "pictures") else filled.pictures
    filled.pictures = everything  # type: ignore[attr-defined]
    parts = data.draw(st.lists(st.sampled_from([q for q in QUERIES if q]), min_size=1, max_size=4))
    sort, limit = data.draw(st.sampled_from(SORTS)), data.draw(st.sampled_from([1, 5, 50]))
    query = " AND ".join(parts)
    chosen = [e for e in everything if all(QUERIES[part](e) for part in parts)]
    assert walk(filled.queries, query, sort, limit) == filled.sorted(sort, chosen)
    assert filled.queries.count(query) == len(chosen)


def test_facets_that_need_not_be_exact_are_close_and_say_so(
    server_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(Settings(url=server_url, namespace=namespace))
    Filler(space).fill(8000, lambda done: None)
    queries, by = Queries(space), ("status", "function", "worker")
    exact = queries.facets("tag:quick", by)
    assert queries.facets("tag:quick", by, exact=False) == exact, "what is little work is exact anyway"
    # Where less may be read than there is
    monkeypatch.setattr("executions.registry.facets._READ_AT_MOST", 0)
    monkeypatch.setattr("executions.registry.facets.SAMPLE_WORK", 5 * sum(map(len, exact.values())))
    # I expect a part of it, from the first to the last, to stand for the whole
    about = queries.facets("tag:quick", by, exact=False)
    for name, facet in about.items():
        assert facet.estimated
        assert not facet.complete
        assert sum(facet.values()) == pytest.approx(queries.count("tag:quick"), rel=0.01)
        most, count = next(iter(exact[name].items()))
        assert facet[most] == pytest.approx(count, rel=0.25)
    assert not exact["status"].estimated


def test_facets_of_a_wide_range_are_estimated_from_places_all_over_it(
    server_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space(Settings(url=server_url, namespace=namespace))
    Filler(space).fill(6000, lambda done: None)
    queries = Queries(space)
    monkeypatch.setattr("executions.registry.selection.SMALL_SPAN", 100)
    monkeypatch.setattr("executions.registry.facets._PART", 1000)
    # The range alone, with what has fewer matches than it, and with what has more
    for query in (
        "finished:>=-1h",
        "finished:>=-1h tag:quick",
        "duration:>0 finished:>=-1h",
        "finished:>=-1h -tag:rare",
    ):
        exact = queries.facets(query, "status")["status"]
        about = queries.facets(query, "status", exact=False)["status"]
        assert about.estimated, query
        for value, count in exact.items():
            assert about.get(value, 0) == pytest.approx(count, rel=0.25, abs=120), f"{query} {value}"
