"""Services without a server: what may be set, what a runner offers, how inputs reach a function."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from executions import Progress, Service, ServiceRunner
from executions.errors import InvalidInput, InvalidSetting
from executions.service import ServiceSettings, ServiceState, changes_between, check_service_name
from executions.service_runner import Holder, functions_of


class Verbs:
    """Stands in for the client: remembers what would be written."""

    def __init__(self) -> None:
        self.written: list[ServiceSettings] = []

    def write(self, known: ServiceState, settings: ServiceSettings, force: bool) -> Service:
        self.written.append(settings)
        return Service(replace(known, version=known.version + 1, settings=settings), self)  # type: ignore[arg-type]


@pytest.fixture
def service() -> Service:
    """A service with the settings that a new one has."""
    state = ServiceState(name="trainer", id="x", version=1, settings=ServiceSettings())
    return Service(state, Verbs())  # type: ignore[arg-type]


@pytest.mark.feature("D32", "D36")
def test_a_new_service_has_an_hour_fails_on_reset_and_drains_for_ten_minutes(service: Service) -> None:
    assert (service.execution_timeout, service.on_reset, service.drain_time) == (3600, "failed", 600)


@pytest.mark.feature("D33")
@pytest.mark.parametrize("value", [0, -1, 1.5, "60", True, None])
def test_a_timeout_that_is_not_a_natural_number_is_refused_by_update(service: Service, value: Any) -> None:
    service.execution_timeout = value
    with pytest.raises(ValueError, match="execution_timeout must be a positive whole number"):
        service.update()
    service.execution_timeout = 1
    assert service.update().execution_timeout == 1


@pytest.mark.feature("D38")
def test_an_unknown_word_for_on_reset_is_refused_and_the_two_are_named(service: Service) -> None:
    service.on_reset = "retry"
    with pytest.raises(InvalidSetting, match="on_reset must be 'failed' or 'rerun', not 'retry'"):
        service.update()


@pytest.mark.parametrize(
    ("name", "value"),
    [("concurrency", 0), ("concurrency", True), ("drain_time", None), ("queue", ""), ("max_attempts", 1.5)],
)
def test_every_bad_value_is_named(service: Service, name: str, value: Any) -> None:
    setattr(service, name, value)
    with pytest.raises(InvalidSetting, match=name):
        service.update()


@pytest.mark.feature("D34")
def test_update_gives_a_new_service_and_leaves_the_old_one(service: Service) -> None:
    service.execution_timeout, service.on_reset = 86400, "rerun"
    fresh = service.update()
    assert fresh is not service
    assert (fresh.version, service.version) == (2, 1)
    assert (fresh.execution_timeout, fresh.on_reset) == (86400, "rerun")


def test_a_misspelt_setting_is_an_error_and_not_silence(service: Service) -> None:
    with pytest.raises(AttributeError):
        service.execution_timout = 60  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        service.version = 7  # type: ignore[misc]


def test_settings_survive_being_written_and_read() -> None:
    settings = ServiceSettings.parse(
        {"retry_on": [ValueError], "concurrency": 2, "queue": "gpu", "backoff_jitter": False}
    )
    assert ServiceSettings.read(settings.as_dict() | {"of_tomorrow": 1}) == settings
    assert settings.policy.retry_on == ("ValueError",)
    assert ServiceSettings.parse({"execution_timeout": 5}).drain_s == 5
    assert changes_between(ServiceSettings(), settings).startswith("concurrency from None to 2")


def test_an_unknown_setting_and_a_bad_name_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="'timeout'"):
        ServiceSettings.parse({"timeout": 5})
    for name in ("", "a b", "x{1}", None, "a" * 101):
        with pytest.raises(InvalidInput, match="name"):
            check_service_name(name)


class Trainer(ServiceRunner):
    """What a user writes."""

    made: list[Trainer] = []
    freed: list[Trainer] = []

    def __init__(self) -> None:
        Trainer.made.append(self)

    def detect(self, item: Any) -> Any:
        return item

    def train(self, item: Any, progress: Progress, epochs: int = 3) -> Any:
        return item, type(progress).__name__, epochs

    async def stream(self, item: Any) -> Any:
        await asyncio.sleep(0)
        return [item]

    @staticmethod
    def ping(progress: Progress) -> str:
        return "pong"

    def anything(self, **inputs: Any) -> Any:
        return inputs

    def do_reset(self) -> None:
        Trainer.freed.append(self)
        super().do_reset()

    def _private(self) -> None: ...


@pytest.fixture
def functions() -> dict[str, Any]:
    """The functions of the runner."""
    Trainer.made, Trainer.freed = [], []
    return functions_of(Trainer)


@pytest.mark.feature("D01")
def test_public_methods_are_the_functions(functions: dict[str, Any]) -> None:
    assert set(functions) == {"detect", "train", "stream", "ping", "anything"}
    assert not Trainer.made


@pytest.mark.feature("D01")
def test_one_instance_serves_every_call(functions: dict[str, Any]) -> None:
    assert functions["detect"](item=1) == 1
    assert functions["train"](item=2) == (2, "Progress", 3)
    assert asyncio.run(functions["stream"](item=3)) == [3]
    assert len(Trainer.made) == 1


@pytest.mark.feature("D02")
@pytest.mark.parametrize(
    ("name", "inputs", "named"),
    [
        ("detect", {"items": 1}, "'items'"),
        ("detect", {}, "'item'"),
        ("detect", {"item": 1, "progress": 5}, "'progress'"),
        ("train", {"item": 1, "progress": 5}, "'progress'"),
    ],
)
def test_a_wrong_input_is_named_before_the_function_runs(
    functions: dict[str, Any], name: str, inputs: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        functions[name](**inputs)
    assert not Trainer.made


@pytest.mark.feature("D03")
def test_progress_is_injected_only_where_it_is_asked_for(functions: dict[str, Any]) -> None:
    assert functions["ping"]() == "pong"
    assert functions["train"]("x", 7) == ("x", "Progress", 7)
    assert functions["anything"](a=1, progress=5) == {"a": 1, "progress": 5}


def test_plain_functions_make_a_service_too() -> None:
    def add(x: int, y: int = 1) -> int:
        return x + y

    assert functions_of(add)["add"](x=1) == 2
    assert functions_of([add])["add"](1, y=2) == 3
    assert functions_of({"plus": add})["plus"](x=4) == 5
    with pytest.raises(InvalidInput, match="add has no input 'z'"):
        functions_of(add)["add"](x=1, z=2)
    for nothing in (ServiceRunner, [], 7, lambda: 1, {"a b": add}):
        with pytest.raises(InvalidInput):
            functions_of(nothing)


def test_a_newer_version_gets_a_new_instance_once_the_old_is_free() -> None:
    Trainer.made, Trainer.freed = [], []
    holder = Holder(Trainer)
    with holder.instance(1) as old:
        with holder.instance(2) as new:
            assert new is not old
            assert not Trainer.freed
        with holder.instance(1) as late:
            assert late is new
    assert Trainer.freed == [old]


def test_a_runner_that_asks_for_a_reset_is_made_anew() -> None:
    Trainer.made = []
    holder = Holder(Trainer)
    with holder.instance(1) as first:
        first.do_reset()
    with holder.instance(1) as second:
        assert second is not first
    assert len(Trainer.made) == 2


def test_threads_share_the_instance_and_a_failing_init_is_tried_again() -> None:
    tries: list[int] = []

    def make() -> object:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no model")
        return object()

    holder = Holder(make)
    with pytest.raises(OSError, match="no model"), holder.instance(1):
        pass
    seen: list[object] = []

    def use() -> None:
        with holder.instance(1) as instance:
            seen.append(instance)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, seen))) == 1
    assert len(tries) == 2
