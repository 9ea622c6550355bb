"""Views, columns, notes and edits from a shell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from executions import Client, connect
from executions.cli.app import root

Run = Callable[..., Result]


@pytest.fixture
def run(server_url: str, namespace: str) -> Run:
    def run(*words: str, given: str = "") -> Result:
        return CliRunner().invoke(root, ["--url", server_url, "--namespace", namespace, *words], input=given)

    return run


@pytest.fixture
def client(server_url: str, namespace: str) -> Iterator[Client]:
    with connect(server_url, namespace=namespace) as made:
        yield made


def test_a_view_is_saved_listed_shown_changed_and_removed(run: Run, client: Client) -> None:
    for number in range(3):
        client.submit("shop.add", number, 2, name=f"run {number}", properties={"lr": number / 10}, tags=["a"][:number])
    saved = run("views", "save", "Tagged", "tag:a OR tag:b", "--sort", "created", "--columns", "name,property.lr")
    assert saved.exit_code == 0, saved.output
    listed = {one["name"]: one for one in json.loads(run("views", "list", "--json").stdout)}
    assert (listed["Tagged"]["id"], listed["Tagged"]["count"]) == (saved.stdout.strip(), 2)
    assert (listed["Waiting"]["count"], listed["Stuck"]["count"]) == (3, None)
    assert "Tagged" in run("views", "list").stdout
    assert run("ls", "--view", "tagged").stdout.split() == ["NAME", "PROPERTY.LR", "run", "1", "0.1", "run", "2", "0.2"]
    # What is asked for besides narrows it, or wins over it
    assert run("ls", "--view", "tagged", "property.lr>0.1 OR name:x", "--columns", "number").stdout.split()[1:] == ["3"]
    found = json.loads(run("ls", "--view", "tagged", "--json", "--sort", "-created").stdout)["items"]
    assert found == [{"name": "run 2", "property.lr": 0.2}, {"name": "run 1", "property.lr": 0.1}]
    changed = run("views", "change", "tagged", "--name", "Ours", "--shared", "--columns", "")
    assert changed.stdout == "Ours is at version 2\n"
    assert client.acting_as("bob").views.get("ours").columns == ()
    assert run("views", "remove", "ours").exit_code == 0
    gone = run("ls", "--view", "ours")
    assert gone.exit_code == 1
    assert "no view 'ours'" in gone.output


def test_what_cannot_be_is_said_in_one_line(run: Run) -> None:
    for words, code, said in (
        (("views", "save", "x", "statsu:failed"), 2, "unknown field"),
        (("views", "save", "running"), 1, "already"),
        (("views", "change", "running"), 2, "say what to change"),
        (("views", "remove", "stuck"), 1, "comes with the system"),
        (("ls", "--columns", "statsu"), 1, "did you mean 'status'"),
        (("export", "--columns", "statsu"), 1, "did you mean 'status'"),
        (("edit", "x"), 2, "say what to change"),
        (("note", "x", "hello"), 1, "no execution 'x'"),
    ):
        done = run(*words)
        assert said in done.output, done.output
        assert done.exit_code in (1, 2), (words, code)


def test_chosen_columns_are_the_same_in_tables_and_exports(run: Run, client: Client) -> None:
    client.submit("shop.add", 1, 2, properties={"lr": 0.1, "deep": {"k": 1}}, tags=["a", "b"])
    names = "function,property.deep,tags,property.lr,duration,worker"
    table = run("ls", "--columns", names).stdout.splitlines()
    assert table[0].split() == ["FUNCTION", "PROPERTY.DEEP", "TAGS", "PROPERTY.LR", "DURATION", "WORKER"]
    assert table[1].split() == ["shop.add", '{"k":', "1}", "a,b", "0.1", "-", "-"]
    expected = [names, 'shop.add,"{""k"":1}",a b,0.1,,']
    assert run("ls", "--columns", names, "--csv").stdout.splitlines() == expected
    assert run("export", "--columns", names).stdout.splitlines() == expected


@pytest.mark.feature("C72", "C73")
def test_notes_and_edits_from_a_shell(run: Run, client: Client) -> None:
    one = client.submit("shop.add", 1, 2, tags=["a"], properties={"lr": 0.1}).id
    assert run("note", one, "the", "data", "was empty").exit_code == 0
    assert run("note", one, "-", given="line 1\nline 2\n").exit_code == 0
    texts = [note["text"] for note in json.loads(run("note", one, "--json").stdout)]
    assert texts == ["the data was empty", "line 1\nline 2"]
    assert "line 2" in run("note", one).stdout
    assert "the data was empty" in run("show", one).stdout
    assert json.loads(run("show", one, "--json").stdout)["notes"][0]["principal"] == client.settings.principal
    done = run("edit", one, "--tag", "b", "--remove-tag", "a", "--set", "lr=0.2", "--set", "who=ann", "--json")
    assert json.loads(done.stdout)["tags"] == ["b"]
    assert json.loads(done.stdout)["properties"] == {"lr": 0.2, "who": "ann"}
    assert "ann" in run("edit", one, "--remove", "lr").stdout
    assert client.executions.get(one).properties == {"who": "ann"}
