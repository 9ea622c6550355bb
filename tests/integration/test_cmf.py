"""Types and executions of a pipeline, as programs written against the Common Metadata Framework ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from executions import connect
from tests.web import bearer, served


@pytest.fixture(scope="module")
def web(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server over a pipeline with three stages, two executions without one, and another pipeline."""
    namespace = "t-cmf"
    with connect(server_url, namespace=namespace) as client:
        for token in client.people.tokens():
            client.people.remove_token(token.name)
        token = client.people.create_token("guest", "view")
        if not client.executions.count():
            for stage, count in (("train", 7), ("prepare", 3), ("test", 2), (None, 2)):
                for number in range(count):
                    properties = {"lr": 0.1 * number, "data": f"set {number}"}
                    client.submit("shop.add", 1, 2, pipeline="mnist", stage=stage, properties=properties)
            client.submit("shop.add", 1, 2, pipeline="mnist-old", stage="train")
        with (
            served(server_url, namespace, folder=tmp_path_factory.mktemp("web")) as started,
            httpx.Client(base_url=started.url, headers=bearer(token)) as made,
        ):
            yield made


def values(item: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in item["execution_properties"]}


def shown(web: httpx.Client, **params: Any) -> dict[str, Any]:
    answer = web.get("/display_executions", params={"pipeline_name": "mnist", **params})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.feature("C52")
def test_the_types_of_a_pipeline_are_listed_at_the_old_and_the_new_address(web: httpx.Client) -> None:
    stages = ["prepare", "test", "train"]
    for path in ("/execution_types?pipeline_name=mnist", "/get_execution_types/mnist", "/list-of-executions/mnist"):
        assert web.get(path).json() == stages
    assert web.get("/pipeline-stages/mnist").json() == {"stages": stages, "total_stages": 3}
    for path in ("/execution_types?pipeline_name=mni", "/pipeline-stages/nothing", "/display_executions/nothing"):
        unknown = web.get(path)
        assert (unknown.status_code, unknown.json()["type"]) == (404, "/problems/not-found")
    assert web.get("/execution_types").status_code == 422


@pytest.mark.feature("C53", "C21")
def test_the_executions_of_a_type_come_in_pages_with_their_values(web: httpx.Client) -> None:
    first, second, third = (shown(web, type="train", page=page, per_page=3) for page in (1, 2, 3))
    assert [page["total_items"] for page in (first, second, third)] == [7, 7, 7]
    assert [len(page["items"]) for page in (first, second, third)] == [3, 3, 1]
    numbers = [item["execution_id"] for page in (first, second, third) for item in page["items"]]
    assert numbers == sorted(set(numbers), reverse=True)
    known = values(first["items"][0])
    assert (known["Context_Type"], known["Pipeline_Type"], known["data"]) == ("mnist/train", "mnist", "set 6")
    assert web.get(f"/api/v1/executions/{numbers[0]}").json()["id"] == known["Execution_uuid"]
    # The default is five a page, and a stage may be named with its pipeline
    assert len(shown(web)["items"]) == 5
    assert shown(web, type="mnist/test")["total_items"] == 2
    assert shown(web, type="nothing") == {"total_items": 0, "complete": True, "items": []}
    for wrong in ({"page": 0}, {"per_page": 101}, {"page": 5000, "per_page": 100}, {"sort_field": "colour"}):
        refused = web.get("/display_executions", params={"pipeline_name": "mnist", **wrong})
        assert (refused.status_code, refused.json()["type"]) == (422, "/problems/validation"), wrong


def test_they_are_ordered_by_stage_or_time_and_narrowed(web: httpx.Client) -> None:
    def stages(**params: Any) -> list[str | None]:
        return [values(item).get("Execution_type_name") for item in shown(web, per_page=100, **params)["items"]]

    up = ["prepare"] * 3 + ["test"] * 2 + ["train"] * 7
    assert stages() == [*up, None, None]
    assert stages(sort_order="desc") == [*reversed(up), None, None]
    numbers = [item["execution_id"] for item in shown(web, per_page=100, sort_field="created")["items"]]
    assert numbers == sorted(numbers)
    newest = web.get("/executions-by-stage/mnist?stage_name=train&record_per_page=2&active_page=2").json()
    assert [values(item)["data"] for item in newest["items"]] == ["set 4", "set 3"]
    assert shown(web, filter_by="data", filter_value="SET 6")["total_items"] == 1
    assert shown(web, filter_by="Context_Type", filter_value="mnist/tr")["total_items"] == 7
    assert shown(web, filter_by="Status", filter_value="pending")["total_items"] == 14
    assert shown(web, filter_value="set 2")["total_items"] == 2
    assert web.get("/display_executions/mnist?filter_value=type").json()["total_items"] == 0
