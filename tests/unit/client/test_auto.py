"""A client from the environment: settings are read at once, servers are asked later."""

from __future__ import annotations

import pytest

from executions import Client, InvalidSetting, Unavailable, connect


@pytest.mark.feature("F01")
def test_a_client_is_made_without_a_word_to_any_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTIONS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("EXECUTIONS_RETENTION_S", "60")
    client = Client.auto(namespace="other")
    assert (client.settings.url, client.settings.retention_s, client.settings.namespace) == (
        "redis://127.0.0.1:1/0", 60, "other",
    )  # fmt: skip
    with pytest.raises(Unavailable):
        client.executions.get("any")


def test_a_wrong_setting_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTIONS_SHARDS", "many")
    with pytest.raises(InvalidSetting, match="EXECUTIONS_SHARDS must be a whole number"):
        Client.auto()


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://", "127.0.0.1:6379", "redis://127.0.0.1:port"])
def test_what_is_no_registry_url_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(InvalidSetting, match="not a registry URL") as raised:
        connect(url).executions.get("any")
    assert "\n" not in str(raised.value)
