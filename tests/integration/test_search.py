"""The search language over a registry: whatever is asked, the answer is that of a plain look at every record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executions import codec, ids
from executions.errors import InvalidQuery
from executions.execution import Execution
from executions.query.tree import quote
from executions.query.values import read_amount, read_value
from executions.registry import selection
from executions.registry.connection import client_for
from executions.registry.pruning import Old, Pruning
from executions.registry.transitions import Ending, Submission
from executions.states import Status
from tests.integration.randomly import Registry, make_registry

Predicate = Callable[[Execution], bool]


@pytest.fixture(scope="module", params=[1, 16], ids=["1 shard", "16 shards"])
def filled(request: pytest.FixtureRequest, server_url: str) -> Iterator[Registry]:
    """A registry of some hundred executions that no test changes."""
    name = f"search-{ids.new_id()}"
    registry = make_registry(server_url, name, request.param, seed=11)
    for _ in range(300):
        registry.add()
    everything = registry.all()
    registry.all = lambda: everything  # type: ignore[method-assign]
    yield registry
    client = client_for(server_url)
    for key in client.scan_iter(f"{name}:*", count=1000):
        client.delete(key)


def number(execution: Execution, key: str) -> float | None:
    """Give a property as the number that it is or is written as."""
    value = execution.properties.get(key)
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value) if len(str(value)) <= 15 or not isinstance(value, str) else None
    except (TypeError, ValueError):
        return None


def is_above(key: str, bound: float) -> Predicate:
    return lambda e: (found := number(e, key)) is not None and found > bound


def words(e: Execution) -> str:
    properties = [part for key, value in e.properties.items() for part in (key, str(value))]
    error = [e.error.type, e.error.message] if e.error else []
    named = [e.id, e.name, e.function, e.service, e.queue, e.worker, e.pipeline, e.stage, e.principal, e.message]
    branch = [e.code.branch] if e.code else []
    return "\n".join(str(part) for part in (*named, *branch, *e.tags, *error, *properties) if part).casefold()


#: What may be asked, and what it means.
ASKED: dict[str, Predicate] = {
    "status:failed": lambda e: e.status == "failed",
    "is:open": lambda e: e.status in ("pending", "running"),
    "is:done": lambda e: e.is_done,
    "is:timeout,waiting": lambda e: e.reason in ("timeout", "waiting"),
    "is:stuck": lambda e: False,
    "is:retried": lambda e: e.attempt > 1,
    "is:root": lambda e: e.parent_id is None,
    "attempt:1 TO 2": lambda e: e.attempt in (1, 2),
    "pipeline:mnist": lambda e: (e.pipeline or "").startswith("mnist"),
    "pipeline=mnist": lambda e: e.pipeline == "mnist",
    "commit:0123": lambda e: bool(e.code and e.code.commit.startswith("0123")),
    "function:tasks.*": lambda e: e.function.startswith("tasks."),
    "name:*": lambda e: e.name is not None,
    'name:"name 1"*,"name 2"': lambda e: (e.name or "").startswith("name 1") or e.name == "name 2",
    "has:worker": lambda e: e.worker is not None,
    "has:started": lambda e: e.started is not None,
    "tag:nightly": lambda e: "nightly" in e.tags,
    "tag~SAY": lambda e: 'say "hi"' in e.tags,
    "error:valueerror": lambda e: bool(e.error and e.error.type == "ValueError"),
    "fingerprint:f00d": lambda e: bool(e.error and e.error.fingerprint == "f00d"),
    "message:column": lambda e: "Column" in e.message,
    "user:ann@host": lambda e: e.principal == "ann@host",
    "column": lambda e: "column" in words(e),
    "produc": lambda e: "produc" in words(e),
    '"two words"': lambda e: "two words" in words(e),
    "été": lambda e: "été" in words(e),
    "property:lr=0.001": lambda e: number(e, "lr") == 0.001,
    "property:lr:0.1": lambda e: number(e, "lr") == 0.1,
    "property.lr!=1e-2": lambda e: number(e, "lr") != 0.01,
    "property.lr=0.10000000000000001": lambda e: e.properties.get("lr") in ("0.1", "0.10000000000000001"),
    "property:lr<0": lambda e: number(e, "lr") == -2,
    "property:epochs>10": is_above("epochs", 10),
    "property:epochs:5 TO 10": lambda e: number(e, "epochs") in (5, 10),
    "property.epochs:20,1": lambda e: number(e, "epochs") in (20, 1),
    "property.tag=production": lambda e: e.properties.get("tag") == "production",
    "property.tag:*": lambda e: "tag" in e.properties,
    "property.tag:b*": lambda e: str(e.properties.get("tag", "")).startswith("b"),
    "property.tag>=b": lambda e: e.properties.get("tag", "") >= "b",
    "property.tag~WORDS": lambda e: "words" in str(e.properties.get("tag", "")),
    'property."my key":true': lambda e: e.properties.get("my key") in (True, "true"),
    f'property."my key":"{"long " * 30}"': lambda e: str(e.properties.get("my key")).startswith("long"),
    f'property."my key">"{"long " * 29}"': lambda e: (
        "my key" in e.properties and e.properties["my key"] in ("long " * 30, "true", True, None)
    ),
    "property.nowhere>0": lambda e: False,
}


def ask_about_losses(registry: Registry) -> dict[str, Predicate]:
    """Give what may be asked about metrics, which pictures do not show, and about times."""
    losses = registry.losses
    middle = sorted(e.created for e in registry.all() if e.created)[len(registry.ids) // 2]
    return {
        "metric.loss<0.1": lambda e: losses.get((e.id, "loss"), 1) < 0.1,
        "metric.loss:0.1 TO 1": lambda e: 0.1 <= losses.get((e.id, "loss"), 9) <= 1,
        'metric."val loss">=-3.5': lambda e: (e.id, "val loss") in losses,
        "has:metric.loss": lambda e: (e.id, "loss") in losses,
        f"created:>{middle.isoformat()}": lambda e: e.created is not None and e.created > middle,
        f"started:<={middle.isoformat()}": lambda e: e.started is not None and e.started <= middle,
        f"finished:>={middle.isoformat()}": lambda e: e.finished is not None and e.finished >= middle,
        "duration:<1h": lambda e: registry.duration(e) is not None,
    }


@st.composite
def questions(draw: st.DrawFn, depth: int = 3) -> tuple[object, ...]:
    kind = draw(st.sampled_from(["leaf"] * 3 + (["not", "and", "or"] if depth else [])))
    if kind == "leaf":
        return ("leaf", draw(st.integers(0, 10**6)))
    size = 1 if kind == "not" else draw(st.integers(2, 3))
    return (kind, *(draw(questions(depth - 1)) for _ in range(size)))


def spoken(question: tuple[object, ...], asked: dict[str, Predicate]) -> tuple[str, Predicate]:
    """Write a question as a query, and as what it means."""
    if question[0] == "leaf":
        text = list(asked)[int(str(question[1])) % len(asked)]
        return text, asked[text]
    parts = [spoken(one, asked) for one in question[1:] if isinstance(one, tuple)]
    texts, meanings = [f"({text})" for text, _ in parts], [meaning for _, meaning in parts]
    if question[0] == "not":
        return f"NOT {texts[0]}", lambda e: not meanings[0](e)
    if question[0] == "and":
        return " ".join(texts), lambda e: all(meaning(e) for meaning in meanings)
    return " OR ".join(texts), lambda e: any(meaning(e) for meaning in meanings)


def walk(registry: Registry, query: str, sort: str, limit: int) -> list[str]:
    found, cursor = [], None
    while True:
        page = registry.queries.page(query, sort, limit, cursor)
        found += [execution.id for execution in page]
        cursor = page.next_cursor
        if cursor is None:
            return found


def hold(registry: Registry, query: str, meaning: Predicate, sorts: tuple[str, ...] = ("-created",)) -> None:
    chosen = [execution for execution in registry.all() if meaning(execution)]
    for sort in sorts:
        assert walk(registry, query, sort, 150) == registry.sorted(sort, chosen), (query, sort)
    count = registry.queries.count(query)
    assert count == len(chosen), query
    assert count.complete


@pytest.mark.feature("C43", "C45", "C46", "C47")
def test_each_question_by_itself(filled: Registry) -> None:
    everything = filled.all()
    for query, meaning in {**ASKED, **ask_about_losses(filled)}.items():
        hold(filled, query, meaning)
        hold(filled, f"-{query}" if query[0] != "-" else query, lambda e, meaning=meaning: not meaning(e))  # type: ignore[misc]
        if query not in ("is:stuck", "property.nowhere>0", "duration:<1h"):
            assert 0 < sum(map(meaning, everything)) < len(everything), f"{query} tells nothing apart"


@pytest.mark.feature("C08")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(questions(), st.sampled_from(["-created", "started", "-duration"]), st.booleans())
def test_any_question_is_answered_as_a_plain_look_would(
    filled: Registry, question: tuple[object, ...], sort: str, is_small: bool
) -> None:
    query, meaning = spoken(question, {**ASKED, **ask_about_losses(filled)})
    with pytest.MonkeyPatch.context() as patch:
        if is_small:  # as if there were so many executions that few indexes could be read whole
            patch.setattr(selection, "SMALL_SPAN", 5)
            patch.setattr("executions.registry.queries._VALUES_WHOLE", 5)
        hold(filled, query, meaning, (sort,))


def records_read(registry: Registry, query: str) -> int:
    """Count a query, and give how many records the server was asked for to do so."""
    with registry.space.client.monitor() as monitor:  # type: ignore[no-untyped-call]
        registry.queries.count(query)
        registry.space.client.echo("that was all")
        told = takewhile(lambda one: not one["command"].startswith("ECHO"), monitor.listen())
        # A script's own calls are told besides the script; records are named by their keys.
        commands = [one["command"] for one in told if one["client_type"] != "lua"]
    return sum(command.count("}:x:") for command in commands if registry.space.namespace in command)


def test_ranges_and_negations_read_no_record_where_an_index_knows(filled: Registry) -> None:
    middle = sorted(e.created for e in filled.all() if e.created)[len(filled.ids) // 2].isoformat()
    known = [
        "status:failed", "pipeline:mnist", "queue:gpu status:running,success", "has:worker", "has:started",
        "tag:nightly", "commit:0123", "duration:>1ms", f"started:<={middle}", f"finished:>={middle}",
        "property:epochs>10", "property:epochs:5 TO 10", "property.lr!=1e-2", "metric.loss:0.1 TO 1",
        f"(duration:<1h OR tag:nightly) -(property.lr<0 finished:<{middle})",
    ]  # fmt: skip
    for query in known:
        for asked in (query, f"NOT ({query})", f"status:success -({query})"):
            assert records_read(filled, asked) == 0, asked
    if filled.space.shards == 1:
        # What was created when is known to the nearest mark: the exact end takes a few looks, either way
        for asked in (f"created:<{middle}", f"-created:<{middle}", f"-created:>={middle}", f"NOT created:<={middle}"):
            assert records_read(filled, asked) <= 4 * selection._PROBES < len(filled.ids), asked
    assert records_read(filled, "attempt:1") == len(filled.ids)


def test_an_execution_that_is_late_is_stuck(server_url: str, namespace: str) -> None:
    # Given one that has waited in its queue for two hours, and one that is an hour beyond its limit
    registry = make_registry(server_url, namespace, 1)
    waiting, late, fresh = (registry.submit() for _ in range(3))
    registry.transitions.start(late, 1, worker="celery@one", pid=7, pool="solo")
    past = {hours: round((datetime.now(UTC) - timedelta(hours=hours)).timestamp() * 1_000_000) for hours in (1, 2)}
    client, keys = registry.space.client, registry.space.keys(waiting)
    client.hset(keys.record(waiting), "qd", past[2])
    client.hset(keys.record(late), "dl", past[1])
    # I expect these two, and not what was submitted just now
    assert walk(registry, "is:stuck", "created", 9) == [waiting, late]
    assert walk(registry, "is:open -is:stuck", "created", 9) == [fresh]


def test_what_only_records_know_is_looked_up_on_the_newest_and_that_is_said(
    filled: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that at most thirty records may be read to count
    monkeypatch.setattr("executions.registry.queries.CHECKED_AT_MOST", 30 * filled.space.shards)
    monkeypatch.setattr("executions.registry.queries._CHECKED_OF_A_SHARD", 1)
    # If a word is counted that stands anywhere in them
    count = filled.queries.count("ann@host")
    facet = filled.queries.facets("ann@host", by="status")["status"]
    # I expect the count to say what it is the count of
    newest = {e.id for e in filled.all()}
    assert not count.complete or filled.space.shards > 1
    assert 0 < count.scanned <= len(newest)
    assert facet.scanned == count.scanned
    assert sum(facet.values()) == count
    # and one that an index knows to need no records
    assert filled.queries.count("pipeline:mnist -queue:cpu").scanned == 0
    assert filled.queries.page("pipeline:mnist").scanned == 0
    page = filled.queries.page("ann@host", limit=3)
    assert page.scanned > 0
    assert not page.is_cut


def test_a_page_that_had_to_stop_looking_says_so(filled: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executions.registry.queries._PAGE_WORK", 8)
    monkeypatch.setattr("executions.registry.queries._SHARD_WORK", 8)
    page = filled.queries.page("no-such-word", limit=50)
    assert len(page) == 0
    assert page.is_cut
    assert page.next_cursor
    assert page.scanned > 0


VALUES = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20) | st.text(max_size=80)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, min_size=2, max_size=12))
def test_the_server_orders_values_as_python_does(server_url: str, values: list[float | str]) -> None:
    # Given properties of any kind, among them some that a query cannot name
    registry = make_registry(server_url, f"order-{ids.new_id()}", 1)
    made = [submit(registry, value=value) for value in values]
    for pivot in values:
        try:
            bound = quote(pivot if isinstance(pivot, str) else repr(pivot))
            bound.encode()
        except UnicodeEncodeError:
            continue
        if pivot == "" or (isinstance(pivot, str) and (is_amount(pivot) or pivot == "*")):
            continue
        alike = [
            (one, v) for one, v in zip(made, map(as_value, values), strict=True) if type(v) is type(as_value(pivot))
        ]
        at = as_value(pivot)
        assert walk(registry, f"property.value>{bound}", "created", 50) == [one for one, v in alike if v > at]
        assert walk(registry, f"property.value<={bound}", "created", 50) == [one for one, v in alike if v <= at]
        assert registry.queries.count(f"property.value={bound}") == sum(v == at for _, v in alike)


def as_value(value: object) -> float | str:
    return read_value(codec.encode(value, "value"))


def is_amount(text: str) -> bool:
    return read_amount(text) is not None


def submit(registry: Registry, **properties: object) -> str:
    made = ids.new_id()
    texts = {key: codec.encode(value, key) for key, value in properties.items()}
    registry.transitions.submit(Submission(id=made, function="tasks.fit", inputs="[[],{}]", properties=texts))
    return made


def test_a_value_that_changes_is_found_by_its_new_one_only(server_url: str, namespace: str) -> None:
    # Given an execution whose property changes while it waits, while it runs, at its retry and at its end
    registry = make_registry(server_url, namespace, 1)
    one, transitions = submit(registry, k=1), registry.transitions
    keys = registry.space.keys(one)

    def found() -> list[bool]:
        return [registry.queries.count(f"property.k={n}") == 1 for n in range(1, 6)]

    assert found() == [True, False, False, False, False]
    transitions.annotate(one, None, fields=("p.k", "2"))
    assert found() == [False, True, False, False, False]
    transitions.start(one, 1, worker="celery@one", pid=7, pool="solo")
    transitions.report(one, 1, fields=("p.k", "3", "m.loss", "0.5"))
    assert found() == [False, False, True, False, False]
    transitions.retry(one, 1, ended=("p.k", "4"))
    assert found() == [False, False, False, True, False]
    transitions.start(one, 2, worker="celery@one", pid=7, pool="solo")
    transitions.finish(one, 2, Ending(status=Status.SUCCESS, fields=("p.k", '"5"')))
    assert found() == [False, False, False, False, True]
    # and nothing of it left once it is forgotten
    assert registry.space.client.zcard(keys.values) == 2
    Pruning(registry.space).prune(keys, [Old(1, one)])
    assert registry.space.client.exists(keys.values) == 0


def test_what_has_no_properties_costs_the_order_of_values_nothing(server_url: str, namespace: str) -> None:
    registry = make_registry(server_url, namespace, 1)
    one = submit(registry)
    registry.transitions.start(one, 1, worker="celery@one", pid=7, pool="solo")
    registry.transitions.finish(one, 1, Ending(status=Status.SUCCESS, result="1", fields=("out", "1")))
    keys = registry.space.keys(one)
    assert registry.space.client.exists(keys.values) == 0
    assert not registry.space.client.hexists(keys.record(one), "vx")


def test_values_whose_record_is_gone_are_swept(server_url: str, namespace: str) -> None:
    registry = make_registry(server_url, namespace, 1)
    gone, stays = submit(registry, k=1), submit(registry, k=2)
    keys, pruning = registry.space.keys(gone), Pruning(registry.space)
    registry.space.client.delete(keys.record(gone))
    assert pruning.prune(keys, [Old(1, gone)]).missing == 1
    assert registry.space.client.zcard(keys.values) == 2
    assert pruning.sweep_values(keys, 0) == (0, 1)
    assert walk(registry, "property.k>0", "created", 9) == [stays]


def test_properties_that_an_earlier_version_recorded_are_looked_up(server_url: str, namespace: str) -> None:
    # Given a registry whose first executions were recorded before values were kept in order
    registry = make_registry(server_url, namespace, 1)
    old, client = [submit(registry, k=n) for n in range(3)], registry.space.client
    keys = registry.space.keys(old[0])
    client.delete(keys.values)
    client.hdel(keys.meta, "valued")
    assert walk(registry, "property.k>0", "created", 9) == old[1:]
    # If more come
    new = submit(registry, k=7)
    # I expect the old ones to be found too, also where they are not asked for
    assert walk(registry, "property.k>0", "created", 9) == [*old[1:], new]
    assert walk(registry, "-property.k>0", "created", 9) == old[:1]
    assert registry.queries.count("property.k>0") == 3


def test_names_of_properties_and_metrics_are_suggested(filled: Registry) -> None:
    assert [one.text for one in filled.queries.suggest("property.")] == [
        "property.epochs", "property.lr", 'property."my key"', "property.tag",
    ]  # fmt: skip
    assert [one.text for one in filled.queries.suggest("-metric:va")] == ['metric."val loss"']
    assert filled.queries.suggest("pipeline:mn")[0].text in ("mnist", "mnist-classifier")


@pytest.mark.feature("C44")
def test_a_range_of_dates_includes_both_its_days(server_url: str, namespace: str) -> None:
    registry = make_registry(server_url, namespace, 1)
    one = submit(registry)
    created = registry.queries.get(one).created
    assert created is not None
    day, before, after = (f"{created + timedelta(days=days):%Y-%m-%d}" for days in (0, -1, 1))
    for query in (f"date:{day} TO {day}", f"date:{before} TO {day}", f"date:{day} TO {after}", f"date:{day}"):
        assert walk(registry, query, "created", 9) == [one], query
    assert registry.queries.count(f"date:{before}") == 0
    assert registry.queries.count(f"date:{after} TO *") == 0
    with pytest.raises(InvalidQuery, match="is not a date") as caught:
        registry.queries.page("date:2026-01-01 TO 2026-02-30")
    assert caught.value.position == 19
