"""The description of the API is true: what is made up from it is answered as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from executions import connect
from tests.web import Web, bearer, served

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.checks")
schemathesis_config = pytest.importorskip("schemathesis.config")

#: Requests that are made up for each operation.
EXAMPLES = 12

#: The same requests in every run. What is wrong may be refused as too long for a head (431), which is not expected.
CONFIG = schemathesis_config.SchemathesisConfig.from_dict(
    {"seed": 7, "checks": {"negative_data_rejection": {"expected-statuses": ["4xx"]}}}
)


@pytest.fixture(scope="module")
def web(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, str]]:
    """A server with something on record, and a token that opens all of it."""
    namespace = "t-web-schema"
    with connect(server_url, namespace=namespace) as client:
        if not client.people.is_anybody():
            client.submit("shop.add", 1, 2, name="one", tags=["a"])
            client.services.deploy(print, name="printing")
        for token in client.people.tokens():
            client.people.remove_token(token.name)
        token = client.people.create_token("all", "admin")
        with served(server_url, namespace, folder=tmp_path_factory.mktemp("web")) as started:
            yield started, token


def test_the_description_is_openapi_3_1_and_names_problems(web: tuple[Web, str]) -> None:
    started, _ = web
    found = httpx.get(f"{started.url}/api/openapi.json").json()
    assert found["openapi"].startswith("3.1")
    operations = [one for path in found["paths"].values() for one in path.values()]
    assert len(operations) > 40
    assert len({one["operationId"] for one in operations}) == len(operations)
    for one in operations:
        assert one["description"], one["operationId"]
        for status, answer in one["responses"].items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], one["operationId"]


def test_the_reference_is_a_page_of_ours_with_every_operation(web: tuple[Web, str]) -> None:
    started, _ = web
    page, found = (httpx.get(f"{started.url}{path}") for path in ("/api", "/api/openapi.json"))
    assert "http://" not in page.text
    assert "https://" not in page.text
    for path in found.json()["paths"]:
        assert path.replace("&", "&amp;") in page.text


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_whatever_is_sent_is_answered_as_described(web: tuple[Web, str]) -> None:
    started, token = web
    schema = schemathesis.openapi.from_url(f"{started.url}/api/openapi.json", config=CONFIG)
    wrong, excluded = list[str](), _excluded()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/stream"):
            continue  # it never ends

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
            phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode)))
        def try_it(case: Any) -> None:
            case.query = {**(case.query or {}), **({"wait": 0} if "wait" in (case.query or {}) else {})}
            case.call_and_validate(headers=bearer(token), excluded_checks=excluded, timeout=20)

        try:
            try_it()
        except (Exception, BaseExceptionGroup) as error:
            wrong.append(f"{operation.label}: {_told(error)}")
    assert not wrong, "\n\n".join(wrong)


def _told(error: BaseException) -> str:
    """Give the several findings of a failure, not only that there are some."""
    inner = getattr(error, "exceptions", ())
    return "\n".join([*map(_told, inner)]) if inner else f"{type(error).__name__}: {error}"


def _excluded() -> list[Any]:
    """Give the check that cannot hold: no schema says which text is a query, a cursor or the name of a function."""
    checks.load_all_checks()
    return [checks.CHECKS.get_one("positive_data_acceptance")]
