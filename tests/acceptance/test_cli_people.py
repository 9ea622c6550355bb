"""Users, tokens and the audit log from a shell."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from executions import connect
from executions.cli.app import root


@pytest.fixture
def run(server_url: str, namespace: str):  # type: ignore[no-untyped-def]
    def run(*words: str, given: str = "") -> Result:
        return CliRunner().invoke(root, ["--url", server_url, "--namespace", namespace, *words], input=given)

    return run


def test_a_token_is_made_shown_once_and_removed(run, server_url: str, namespace: str) -> None:  # type: ignore[no-untyped-def]
    made = run("token", "create", "ci", "--role", "operate", "--days", "7")
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    with connect(server_url, namespace=namespace) as client:
        who = client.people.of_token(token)
        assert who is not None
        assert (who.name, who.role) == ("ci", "operate")
        (listed,) = json.loads(run("token", "list", "--json").stdout)
        assert (listed["name"], listed["role"]) == ("ci", "operate")
        assert listed["expires"] > listed["created"]
        assert token not in json.dumps(listed)
        assert "there is a token 'ci' already" in run("token", "create", "ci").output
        assert run("token", "remove", "ci").exit_code == 0
        assert client.people.of_token(token) is None
        assert run("token", "remove", "ci").exit_code == 1


def test_a_user_is_added_changed_and_removed(run, server_url: str, namespace: str) -> None:  # type: ignore[no-untyped-def]
    assert run("user", "add", "ann", "--role", "admin", "--password-file", "-", given="short\n").exit_code == 2
    added = run("user", "add", "ann", "--role", "admin", "--password-file", "-", given="correct horse\n")
    assert added.exit_code == 0, added.output
    with connect(server_url, namespace=namespace) as client:
        assert client.people.login("ann", "correct horse")
        assert client.people.login("ann", "correct horse\n") is None
        assert run("user", "change", "ann").exit_code == 2
        assert run("user", "change", "ann", "--role", "view").exit_code == 0
        assert [(user.name, user.role) for user in client.people.users()] == [("ann", "view")]
        assert "ann" in run("user", "list").stdout
        assert run("user", "remove", "ann").exit_code == 0
        assert client.people.login("ann", "correct horse") is None


def test_the_audit_log_is_read_from_a_shell(run, server_url: str, namespace: str) -> None:  # type: ignore[no-untyped-def]
    with connect(server_url, namespace=namespace) as client:
        client.audit.record("ann", "terminate_execution", "01", "done", detail="wrong data")
    (entry,) = json.loads(run("audit", "--json").stdout)
    assert (entry["who"], entry["action"], entry["detail"]) == ("ann", "terminate_execution", "wrong data")
    assert "wrong data" in run("audit").stdout
    assert "wrong data" in run("audit", "--who", "ann").stdout
    assert json.loads(run("audit", "--who", "ben", "--json").stdout) == []
