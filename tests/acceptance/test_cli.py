"""The command line against a real server and a real worker: what it prints, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import executions
from executions.clock import SYSTEM_CLOCK
from executions.registry.connection import PATIENCE_S
from executions.registry.keys import shard_keys
from executions.version import VERSION
from tests.acceptance.fleet import Fleet, eventually
from tests.acceptance.shell import Shell, make_shell
from tests.conftest import StartServer

UNKNOWN = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def shell(prefork: Fleet) -> Iterator[Shell]:
    """A shell beside a worker with two slots."""
    with make_shell(prefork) as made:
        yield made


def started(shell: Shell, *arguments: str) -> str:
    """Start an execution from the shell and give its id."""
    done = shell("run", *arguments, "-q")
    assert done.code == 0, done.err
    return done.out.strip()


# Running and waiting -------------------------------------------------------------------------------------


def test_run_and_wait_prints_the_output_and_exits_with_zero(shell: Shell) -> None:
    done = shell("run", "shop.add", "2", "3", "--wait")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"[0-9a-f-]{36}  success  shop\.add  .*\n5\n", done.out)


def test_the_functions_that_workers_know_are_listed(shell: Shell) -> None:
    eventually(lambda: "shop.add" in shell("functions").out, "the catalogue")
    found = {one["name"]: one for one in shell("functions", "--json").json}
    assert found["shop.add"]["alive"]
    assert [one["name"] for one in found["shop.add"]["parameters"]] == ["x", "y"]
    assert "no worker knows" not in shell("run", "shop.add", "1", "2").err


def test_arguments_are_json_or_text_and_arrive_as_such(shell: Shell) -> None:
    done = shell(
        "run", "shop.echo", "--wait", "--json", "1", "mnist", '"5"', "-i", 'item={"id": 7}', "-i", "n=",
        "--json-input", '{"deep": [null, true]}', "--", "-1",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["output"] == {
        "args": [1, "mnist", "5", -1],
        "kwargs": {"item": {"id": 7}, "n": "", "deep": [None, True]},
    }


def test_a_value_that_the_function_does_not_take_is_refused(shell: Shell) -> None:
    eventually(lambda: "shop.add" in shell("functions").out, "the catalogue")
    done = shell("run", "shop.plain_base", "three")
    assert (done.code, done.out) == (2, "")
    assert "shop.plain_base takes 'x' as int, not as str" in done.err


def test_inputs_come_from_stdin_as_well(shell: Shell) -> None:
    done = shell("run", "shop.add", "--json-input", "-", "--wait", "--json", stdin="[20, 3]")
    assert done.json["output"] == 23


def test_options_of_a_run_are_on_its_record(shell: Shell) -> None:
    one = started(
        shell, "shop.add", "1", "1", "--name", "the-one", "--tag", "a", "--tag", "b", "--property", "lr=0.1",
        "--pipeline", "p", "--stage", "s", "--timeout", "1h", "--on-reset", "rerun", "--max-attempts", "2",
    )  # fmt: skip
    shown = shell("show", one, "--json").json
    assert shown["tags"] == ["a", "b"]
    assert shown["properties"] == {"lr": 0.1}
    assert (shown["name"], shown["pipeline"], shown["stage"]) == ("the-one", "p", "s")
    assert (shown["execution_timeout"], shown["max_attempts"]) == (3600, 2)
    again = started(shell, "shop.add", "1", "1", "--name", "the-one")
    assert again == one


def test_a_failure_is_told_and_exits_with_one(shell: Shell) -> None:
    done = shell("run", "shop.fail", "no socks left", "--wait")
    assert done.code == 1
    assert "failed" in done.out
    assert "ValueError: no socks left" in done.out


def test_a_function_that_no_worker_knows_is_rejected_and_exits_with_one(shell: Shell) -> None:
    done = shell("run", "shop.nothing_like_that", "--wait")
    assert done.code == 1
    assert "no worker knows 'shop.nothing_like_that'; it waits, or is rejected" in done.err
    assert "failed (rejected)" in done.out


def test_what_was_terminated_exits_with_three(shell: Shell) -> None:
    # Given one without checkpoints, so that it cannot have stopped before the command has looked
    one = started(shell, "shop.sleeping", "600")
    shell.fleet.running(one)
    assert "asked to stop" in shell("terminate", one, "--cause", "wrong data").out
    done = shell("wait", one)
    assert done.code == 3
    assert "wrong data" in done.out


def test_a_wait_that_takes_too_long_exits_with_four_and_leaves_it_running(shell: Shell) -> None:
    path = shell.fleet.path()
    one = started(shell, "shop.hold", path)
    done = shell("wait", one, "--timeout", "200ms")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("error: waited 0.2 s for execution")
    assert done.err.count("\n") == 1
    open(path, "w").close()
    assert shell("wait", one, "--quiet").code == 0


def test_a_rerun_is_another_attempt_and_a_relaunch_another_execution(shell: Shell) -> None:
    one = shell("run", "shop.echo", "-i", "x=1", "--wait", "--json").json["id"]
    # A worker may have taken it before it is looked at
    assert shell("rerun", one).out in [f"{one}  {status}, attempt 2\n" for status in ("pending", "running")]
    assert shell("wait", one, "--json").json["attempt"] == 2
    other = shell("relaunch", one, "-i", "x=2", "-i", "y=3", "--wait", "--json").json
    assert other["reference"] == one
    assert other["id"] != one
    assert other["output"] == {"args": [], "kwargs": {"x": 2, "y": 3}}


def test_what_runs_cannot_be_rerun_and_says_so(shell: Shell) -> None:
    path = shell.fleet.path()
    one = started(shell, "shop.hold", path)
    shell.fleet.running(one)
    done = shell("rerun", one)
    assert done.code == 1
    assert "is running and cannot be rerun before it has ended" in done.err
    open(path, "w").close()
    shell("wait", one)


# Looking -------------------------------------------------------------------------------------------------


def test_show_prints_everything_about_an_execution(shell: Shell) -> None:
    one = started(shell, "shop.fail", "gone", "--tag", "nightly", "--property", "lr=0.1")
    shell("wait", one)
    shown = shell("show", one).out
    for part in (
        "shop.fail  failed", one, "nightly", "lr  0.1", '0  "gone"', "ValueError: gone", "shop.py:", "Traceback",
        "pending (queued)", "running (started)", "failed (error)", "Attempts", "submitted by",
    ):  # fmt: skip
        assert part in shown, part
    assert "\x1b" not in shown
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_show_tells_who_asked_it_to_stop_and_why(shell: Shell) -> None:
    one = started(shell, "shop.checking")
    shell.fleet.running(one)
    shell("terminate", one, "--cause", "wrong data", "--grace", "30s")
    shell("wait", one)
    shown = shell("show", one).out
    assert re.search(
        r"Stop request\n +asked by +\S+@\S+\n +at .*\n +why +wrong data\n +how +grace, killed after 30s", shown
    )


def test_show_tells_who_had_it_run_again_and_why(shell: Shell) -> None:
    one = started(shell, "shop.add", "1", "2")
    shell("wait", one)
    assert shell("rerun", one, "--cause", "a better disk").code == 0
    shell("wait", one)
    (entry,) = (entry for entry in shell("show", one, "--json").json["status_log"] if entry["reason"] == "rerun")
    assert (entry["message"], entry["principal"]) == ("a better disk", shell.fleet.client.settings.principal)
    assert re.search(rf"pending \(rerun\) .*{re.escape(entry['principal'])} +a better disk\n", shell("show", one).out)


def test_show_as_json_is_one_document_with_times_in_rfc_3339(shell: Shell) -> None:
    one = started(shell, "shop.add", "1", "2")
    shell("wait", one)
    shown = shell("show", one, "--json").json
    assert (shown["status"], shown["output"], shown["error"]) == ("success", 3, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", shown["created"])
    assert [entry["status"] for entry in shown["status_log"]] == ["pending", "running", "success"]
    assert shown["attempts"][0]["duration"] == shown["duration"]
    assert shell("show", str(shown["number"]), "--json").json == shown


def test_logs_are_printed_as_they_were_written(shell: Shell) -> None:
    one = started(shell, "shop.after_install", "1")
    shell("wait", one)
    eventually(lambda: "after" in shell("logs", one).out, "the log")
    assert re.fullmatch(r"\S+Z INFO +after\n", shell("logs", one).out)
    assert [line["message"] for line in shell("logs", one, "--json").json] == ["after"]
    assert shell("logs", one, "--level", "error").out == ""
    assert shell("logs", one, "--level", "error", "--json").json == []


def test_logs_are_followed_to_the_end(shell: Shell) -> None:
    one = started(shell, "shop.after_install", "1")
    done = shell("logs", one, "--follow")
    assert done.code == 0
    assert done.out.endswith("after\n")


def test_run_with_logs_prints_them_and_how_it_ended(shell: Shell) -> None:
    done = shell("run", "shop.after_install", "1", "--logs")
    assert done.code == 0
    assert re.search(r"INFO +after\n[0-9a-f-]{36}  success", done.out)


def test_ctrl_c_while_following_is_quiet_and_leaves_it_running(shell: Shell) -> None:
    path = shell.fleet.path()
    one = started(shell, "shop.hold", path)
    server = redis.Redis.from_url(shell.fleet.url)
    with shell.start("wait", one) as process:
        # It waits once it listens; before that, Python itself would have to answer.
        eventually(lambda: any(one in name.decode() for name in server.pubsub_channels()), "the subscription")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    server.close()
    assert (process.returncode, out, err) == (130, "", "")
    open(path, "w").close()
    assert shell("wait", one).code == 0


# Listing -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seven(shell: Shell) -> list[str]:
    """Seven executions with a tag of their own, the newest first."""
    made = shell.fleet.client.map("shop.add", [(n, n) for n in range(7)], tags=["seven"])
    for one in made:
        one.wait(timeout=30)
    return [one.id for one in reversed(made)]


def test_ls_lists_what_matches_the_newest_first(shell: Shell, seven: list[str]) -> None:
    assert shell("ls", "tag:seven", "-q").lines == seven
    assert shell("ls", "tag:seven", "AND", "status:success", "--quiet").lines == seven
    head, *rows = shell("ls", "tag:seven").lines
    assert head.split()[:4] == ["ID", "STATUS", "REASON", "FUNCTION"]
    assert [row.split()[0] for row in rows] == seven
    assert "\x1b" not in head


def test_options_narrow_a_list(shell: Shell, seven: list[str]) -> None:
    assert shell("ls", "tag:seven", "--status", "failed,running", "-q").out == ""
    assert shell("ls", "tag:seven", "--status", "completed", "-q").lines == seven
    assert shell("ls", "tag:seven", "--function", "shop.add", "--since", "1h", "-q").lines == seven
    assert shell("ls", "tag:seven", "--queue", "nowhere", "-q").out == ""
    assert shell("ls", "tag:seven", "--sort", "created", "-q", "-n", "2").lines == seven[:-3:-1]


def test_options_narrow_all_of_a_query_with_or_in_it(shell: Shell, seven: list[str]) -> None:
    query = ["tag:seven", "OR", f"id:{seven[0]}"]
    assert shell("ls", *query, "--status", "success", "-q").lines == seven
    assert shell("ls", *query, "--status", "failed", "-q").out == ""


def test_a_word_is_looked_up_on_records_and_a_bulk_verb_takes_the_language(shell: Shell, seven: list[str]) -> None:
    assert shell("ls", "SEVEN", "NOT", "is:open", "--json").json["next_cursor"] is None
    assert shell("ls", "SEVEN", "NOT", "is:open", "-q").lines == seven
    counted = shell("rerun", "--query", "seven (is:open OR function:shop.a*)", "--dry-run", "--json").json
    assert (counted["matched"], counted["eligible"]) == (7, 7)


def test_a_list_goes_on_where_it_ended(shell: Shell, seven: list[str]) -> None:
    found: list[str] = []
    cursor: list[str] = []
    for _ in range(3):
        page = shell("ls", "tag:seven", "--since", "2h", "--limit", "3", "--json", *cursor).json
        found += [item["id"] for item in page["items"]]
        cursor = ["--cursor", page["next_cursor"]] if page["next_cursor"] else []
    assert found == seven
    assert cursor == []


def test_ls_as_csv(shell: Shell, seven: list[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(shell("ls", "tag:seven", "--csv").out)))
    assert [row["id"] for row in rows] == seven
    assert {(row["status"], row["function"], row["tags"]) for row in rows} == {("success", "shop.add", "seven")}


@pytest.mark.parametrize("columns", [80, 200])
def test_on_a_terminal_a_list_fits_and_has_colours(shell: Shell, seven: list[str], columns: int) -> None:
    done = shell.on_terminal("ls", "tag:seven", columns=columns)
    assert done.code == 0
    assert "\x1b[32msuccess" in done.out
    rows = done.plain.splitlines()
    assert all(len(row) <= columns for row in rows)
    assert all(one in done.plain for one in seven)


def test_no_color_is_honoured(shell: Shell, seven: list[str]) -> None:
    assert "\x1b[3" not in shell.on_terminal("ls", "tag:seven", NO_COLOR="1").out
    assert "\x1b[3" not in shell.on_terminal("ls", "tag:seven", "--no-color").out


def test_a_reader_that_goes_away_is_no_error(shell: Shell, seven: list[str]) -> None:
    with shell.start("ls", "-q") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(timeout=20) == 141
        assert process.stderr.read() == ""


# Watching ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
def test_what_matches_is_watched_line_by_line(shell: Shell, as_json: bool) -> None:
    options = ["--json"] if as_json else []
    with shell.start("watch", "function:shop.add", "tag:watched", *options) as process:
        assert process.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))  # type: ignore[union-attr]
        reader.start()
        found = []

        def ends() -> bool:
            shell.fleet.client.submit("shop.add", 1, 1)
            found.append(shell.fleet.client.submit("shop.add", 1, 1, tags=["watched"]).wait(timeout=20).id)
            return any("success" in line for line in lines)

        eventually(ends, "the end of one that it saw from its start")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        reader.join()
    seen = [json.loads(line) for line in lines] if as_json else [line.split() for line in lines]
    assert {one["id"] if as_json else one[1] for one in seen} <= set(found)
    last = [one for one in seen if (one["change"]["status"] if as_json else one[2]) == "success"][-1]
    assert (
        (last["function"], last["change"]["attempt"]) == ("shop.add", 1) if as_json else last[3:] == ["-", "shop.add"]
    )


def test_a_watch_that_cannot_be_is_refused_at_once(shell: Shell) -> None:
    refused = shell("watch", "status:odd")
    assert refused.code == 2
    assert "odd" in refused.err


def test_the_page_of_an_execution_is_opened_where_there_is_a_terminal(shell: Shell, seven: list[str]) -> None:
    one, opened = seven[0], Path(shell.fleet.path("opened"))
    browser = Path(shell.fleet.path("browser"))
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    env = {"EXECUTIONS_CONSOLE": "https://here.example/console/", "BROWSER": str(browser)}
    page = f"https://here.example/console/executions/{one}"
    assert shell("open", one, **env).out == f"{page}\n"
    assert shell.on_terminal("open", one, "--print", **env).plain == f"{page}\n"
    assert not opened.exists()
    assert shell.on_terminal("open", one, **env).plain == f"{page}\n"
    assert opened.read_text() == f"{page}\n"
    assert shell("open", "nothing").code == 1


# Waiting in a queue --------------------------------------------------------------------------------------


def test_where_it_lies_in_its_queue_is_told(shell: Shell) -> None:
    made = [shell.fleet.client.submit("shop.add", n, 1, queue="long") for n in range(3)]
    assert "it is taken next, from queue long" in shell("show", made[0].id).out
    assert "2 of 3 are taken before it, from queue long" in shell("show", made[2].id).out


# Acting on many ------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(shell: Shell) -> list[str]:
    """Three executions that wait for a queue nobody listens to, under a tag of their own."""
    made = shell.fleet.client.map("shop.add", [(1, 1)] * 3, tags=["bulk"], queue="nobody")
    return [one.id for one in made]


PENDING = "tag:bulk status:pending"


def test_bulk_is_counted_asked_for_and_done(shell: Shell, waiting: list[str]) -> None:
    assert shell("terminate", "--query", PENDING, "--dry-run").out == "3 match, 3 of them have not ended\n"

    unasked = shell("terminate", "--query", PENDING)
    assert (unasked.code, unasked.out) == (2, "")
    assert "give --yes to go on without" in unasked.err

    refused = shell.on_terminal("terminate", "--query", PENDING, types="n")
    assert "3 match, 3 of them have not ended\nterminate 3? [y/N]: n\n" in refused.plain
    assert (refused.code, refused.plain.splitlines()[-1]) == (1, "error: nothing was changed")
    assert set(shell("ls", PENDING, "-q").lines) == set(waiting)

    agreed = shell.on_terminal("terminate", "--query", PENDING, "--cause", "too many", types="y")
    assert (agreed.code, agreed.plain.splitlines()[-1]) == (0, "asked 3 to stop")
    assert shell("ls", PENDING, "-q").out == ""
    assert shell("show", waiting[0], "--json").json["stop_request"]["cause"] == "too many"


def test_bulk_with_yes_neither_counts_nor_asks(shell: Shell, waiting: list[str]) -> None:
    done = shell("terminate", "--query", PENDING, "--yes")
    assert (done.code, done.out, done.err) == (0, "asked 3 to stop\n", "")


def test_bulk_as_json(shell: Shell, waiting: list[str]) -> None:
    counted = shell("terminate", "--query", PENDING, "--dry-run", "--json").json
    assert (counted["matched"], counted["eligible"], counted["skipped"]) == (3, 3, {})
    done = shell("terminate", "--query", PENDING, "--yes", "--json").json
    assert (done["done"], done["state"], done["total"]) == (3, "done", 3)

    # ... and it is looked at later
    shown = shell("bulk", "show", done["id"])
    assert f"terminate {PENDING}  done" in shown.out
    assert "3 of 3" in shown.out
    assert set(shell("ls", done["query"], "-q").lines) == set(waiting)
    assert shell("bulk", "list", "--json").json[0] == shell("bulk", "cancel", done["id"], "--json").json == done
    assert shell("bulk", "wait", done["id"]).code == 0
    assert shell("bulk", "show", "nothing").code == 1


def test_a_bulk_of_any_action_is_started_and_waited_for_or_left_to_the_fleet(shell: Shell, waiting: list[str]) -> None:
    assert (
        shell("bulk", "start", "tag", PENDING, "--tag", "odd", "--dry-run").out == "3 match, 3 of them can be tagged\n"
    )
    assert shell("bulk", "start", "tag", PENDING).code == 2  # which tags?
    assert shell("bulk", "start", "tag", *PENDING.split(), "--tag", "odd", "--limit", "2", "-y").out == "2 tagged\n"
    assert set(shell("ls", "tag:odd", "-q").lines) == {waiting[2], waiting[1]}
    # If nobody waits for it, workers carry it out
    left = shell("bulk", "start", "relaunch", "tag:odd", "--yes", "--detach", "--cause", "once more")
    done = shell("bulk", "wait", left.out.strip(), "--json").json
    assert (done["action"], done["done"], done["reason"]) == ("relaunch", 2, "once more")
    ended = shell("bulk", "start", "terminate", "tag:bulk AND status:pending", "--yes", "--json").json
    assert (ended["done"], ended["state"]) == (5, "done")
    # ... and an order that no action takes is refused before anything is done
    assert "no option 'force'" in shell("bulk", "start", "rerun", "tag:odd", "--force", "--yes").err
    assert shell("bulk", "start", "rerun", " ", "--yes").code == 2


def test_the_fleet_carries_out_a_bulk_that_nobody_waits_for(shell: Shell, waiting: list[str]) -> None:
    bulk = shell.fleet.client.bulk("terminate", PENDING, reason="nobody is there")
    eventually(lambda: bulk.refresh().is_over, "its end")
    assert bulk.refresh().done == 3
    assert shell.fleet.client.executions.get(waiting[0]).message == "nobody is there"


def test_a_tree_is_stopped_with_its_root(shell: Shell) -> None:
    root = started(shell, "shop.tree", "1", "3")
    eventually(lambda: len(shell.fleet.client.executions.get(root).children()) == 3, "the children")
    assert shell("terminate", "--tree", root, "--dry-run").out == f"{root}  4 of 4 would be asked to stop\n"
    assert shell("terminate", "--tree", root).out == f"{root}  4 of 4 asked to stop\n"
    assert shell("wait", root).code == 3
    eventually(
        lambda: {one.status for one in shell.fleet.client.executions.get(root).children()} == {"terminated"},
        "the end of the children",
    )


def test_an_unknown_id_does_not_keep_the_others_from_being_stopped(shell: Shell, waiting: list[str]) -> None:
    done = shell("terminate", waiting[0], UNKNOWN, waiting[1])
    assert done.code == 1
    assert done.err.startswith(f"error: no execution '{UNKNOWN}'")
    assert [line.split()[0] for line in done.lines] == waiting[:2]
    assert shell("ls", PENDING, "-q").lines == waiting[2:]
    shell("terminate", waiting[2])


# Mistakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["show", "logs", "wait", "terminate", "rerun", "relaunch"])
def test_an_unknown_id_is_one_line(shell: Shell, command: str) -> None:
    done = shell(command, UNKNOWN)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"error: no execution '{UNKNOWN}': the id is unknown or it was removed after its retention; "
        "`executions ls` shows those there are\n"
    )


def test_a_bad_query_is_shown_with_the_place(shell: Shell) -> None:
    done = shell("ls", "status:failed AND funtion:shop.add")
    assert done.code == 2
    first, query, caret = done.err.splitlines()
    assert "unknown field 'funtion' (did you mean 'function'?)" in first
    assert query[caret.index("^") :].startswith("funtion")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ls", "--sort", "odd"], "cannot sort by 'odd'"),
        (["ls", "--cursor", "odd"], "not a cursor"),
        (["ls", "--since", "odd"], "created: 'odd' is not a date"),
        (["logs", "{one}", "--level", "odd"], "no log level 'odd'"),
        (["services", "set", "odd name", "x=1"], "service"),
    ],
)
def test_a_bad_value_is_told(shell: Shell, seven: list[str], arguments: list[str], told: str) -> None:
    done = shell(*(argument.format(one=seven[0]) for argument in arguments))
    assert done.code in (1, 2)
    assert done.err.startswith("error: ")
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_server_that_is_down_is_one_line(shell: Shell) -> None:
    done = shell("ls", EXECUTIONS_URL="redis://127.0.0.1:1/0", EXECUTIONS_PATIENCE_S="0.5")
    assert (done.code, done.out) == (1, "")
    assert "cannot be reached" in done.err
    assert "start one with `executions up`" in done.err
    assert done.err.count("\n") == 1


def test_a_wrong_password_is_one_line_and_is_not_repeated(shell: Shell, start_server: StartServer) -> None:
    server = start_server()
    admin = redis.Redis.from_url(server.url)
    admin.config_set("requirepass", "sesame")
    url = server.url.replace("://", "://:open-up@")
    began = SYSTEM_CLOCK.monotonic()
    done = shell("ls", "--url", url)
    # Waiting would not help
    assert SYSTEM_CLOCK.monotonic() - began < PATIENCE_S
    assert done.code == 1
    assert "check the user and password" in done.err
    assert "open-up" not in done.err
    assert done.err.count("\n") == 1
    checks = {check["name"]: check for check in shell("doctor", "--json", "--url", url).json}
    assert checks["server"]["advice"] == "check the user and password in the URL"
    assert shell("ls", "--url", server.url.replace("://", "://:sesame@")).code == 0
    admin.config_set("requirepass", "")
    admin.close()


# The fleet -----------------------------------------------------------------------------------------------


def test_workers_are_listed_with_what_they_run(shell: Shell) -> None:
    (worker,) = shell("workers", "--json").json
    assert (worker["alive"], worker["pool"], worker["concurrency"], worker["version"]) == (True, "prefork", 2, VERSION)
    assert worker["queues"] == ["celery"]
    assert shell("workers", "-q").lines == [worker["name"]]
    assert worker["name"] in shell("workers").out


def test_services_are_listed_paused_resumed_and_set(shell: Shell) -> None:
    shell.fleet.client.services.deploy([shell.fleet.shop.add], name="calc", execution_timeout=60)
    assert shell("services", "--json").code == 2
    assert [found["name"] for found in shell("services", "list", "--json").json] == ["calc"]
    assert "calc" in shell("services").out
    assert shell("services", "pause", "calc").out == "calc  paused\n"
    assert shell("services", "resume", "calc").out == "calc  active\n"
    changed = shell("services", "set", "calc", "execution_timeout=7200", "on_reset=rerun", "--json").json
    assert changed["version"] == 2
    assert (changed["settings"]["execution_timeout"], changed["settings"]["on_reset"]) == (7200, "rerun")
    assert "execution_timeout  7200" in shell("services", "show", "calc").out

    typo = shell("services", "set", "calc", "concurency=1")
    assert typo.code == 2
    assert "no setting 'concurency'; there are backoff_delay" in typo.err
    wrong = shell("services", "set", "calc", "execution_timeout=0")
    assert wrong.code == 2
    assert "execution_timeout must be a positive whole number, not 0" in wrong.err
    missing = shell("services", "show", "nothing")
    assert missing.code == 1
    assert "`executions services` shows those there are" in missing.err
    assert shell("run", "nothing", "--service", "calc").code == 2


def test_doctor_finds_everything_well(shell: Shell) -> None:
    shell("terminate", "--query", "status:pending", "--yes")  # what other tests have sent to queues without a worker
    checks = shell("doctor", "--json").json
    assert {check["name"]: check["state"] for check in checks} == {
        "server": "ok", "eviction": "ok", "persistence": "ok", "memory": "ok", "clock": "ok", "schema": "ok",
        "broker": "ok", "workers": "ok", "payloads": "ok", "outbox": "ok",
    }  # fmt: skip
    told = shell("doctor")
    assert told.code == 0
    assert "1 alive with 2 slots" in told.out


def test_doctor_says_what_is_wrong_and_what_to_do(shell: Shell, start_server: StartServer) -> None:
    server = start_server()
    admin = redis.Redis.from_url(server.url)
    admin.config_set("maxmemory", "100mb")
    admin.config_set("maxmemory-policy", "allkeys-lru")
    admin.config_set("appendonly", "no")
    done = shell(
        "doctor", "--url", server.url, EXECUTIONS_PAYLOADS="/proc/nowhere", EXECUTIONS_BROKER="redis://127.0.0.1:1/0"
    )
    admin.close()
    assert done.code == 1
    states = {line.split()[1]: line.split()[0] for line in done.lines if not line.startswith(" ")}
    assert states["eviction"] == states["broker"] == states["payloads"] == "fail"
    assert states["persistence"] == states["workers"] == "warn"
    for advice in (
        "set maxmemory-policy noeviction",
        "set appendonly yes",
        "start one: `celery",
        "EXECUTIONS_PAYLOADS",
    ):
        assert advice in done.out


def test_doctor_looks_for_broken_promises_and_mends_them(shell: Shell, start_server: StartServer) -> None:
    # Given a registry with a count that is wrong
    server = start_server()
    with executions.connect(server.url) as client:
        client.submit("tasks.one", name="one")
        counts = shard_keys(client.settings.namespace, 0).counts
    admin = redis.Redis.from_url(server.url)
    admin.hset(counts, "function:tasks.one", 7)
    admin.close()
    found = shell("doctor", "--invariants", "--url", server.url)
    assert found.code == 1
    assert "wrong-count" in found.out
    assert "--repair would count again" in found.out
    assert shell("doctor", "--invariants", "--json", "--url", server.url).json["counts"] == {"wrong-count": 1}
    # If it is told to, it mends that
    mended = shell("doctor", "--invariants", "--repair", "--url", server.url)
    assert mended.code == 0
    assert "1 repaired" in mended.out
    well = shell("doctor", "--invariants", "--url", server.url)
    assert well.code == 0
    assert "1 executions, 0 ended and 1 live" in well.out
    assert "every promise holds" in well.out
    assert shell("doctor", "--repair").code == 2


def test_doctor_with_the_server_down_looks_at_the_rest(shell: Shell) -> None:
    done = shell("doctor", "--json", EXECUTIONS_URL="redis://127.0.0.1:1/0", EXECUTIONS_PATIENCE_S="0.5")
    assert done.code == 1
    assert {check["name"]: check["state"] for check in done.json} == {
        "server": "fail", "broker": "fail", "payloads": "ok",
    }  # fmt: skip


# Below celery, and with others' commands ----------------------------------------------------------------


def test_the_same_commands_stand_below_celery(shell: Shell, seven: list[str]) -> None:
    below = ("-A", "shop", "executions")
    listed = shell(*below, "ls", "tag:seven", "-q", program="celery", EXECUTIONS_URL="")
    assert (listed.code, listed.lines) == (0, seven)
    run = shell(*below, "run", "shop.add", "2", "3", "--wait", "--json", program="celery", EXECUTIONS_URL="")
    assert (run.code, run.json["output"]) == (0, 5)
    unknown = shell(*below, "show", UNKNOWN, program="celery", EXECUTIONS_URL="")
    assert unknown.code == 1
    assert "celery executions ls` shows those there are" in unknown.err
    odd = shell(*below, "lss", program="celery", EXECUTIONS_URL="")
    assert (odd.code, odd.err.count("\n")) == (2, 1)


def test_an_app_that_was_not_installed_is_asked_where_its_broker_is(shell: Shell, seven: list[str]) -> None:
    (shell.fleet.folder / "bare.py").write_text(
        f"from celery import Celery\napp = Celery('bare', broker={shell.fleet.url!r})\n"
    )
    done = shell("-A", "bare", "executions", "ls", "tag:seven", "-q", program="celery", EXECUTIONS_URL="")
    assert (done.code, done.lines) == (0, seven)


def test_the_commands_of_the_local_stack_are_listed(shell: Shell) -> None:
    commands = shell("--help").out.split("Commands:")[1]
    assert "up " in commands
    assert "down " in commands
    assert "Cannot be loaded" not in commands


def test_a_shell_completes_ids_and_functions(shell: Shell, seven: list[str]) -> None:
    def complete(words: str, at: int) -> list[str]:
        asked = {"_EXECUTIONS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        return [line.removeprefix("plain,") for line in shell(**asked).lines]

    newest = shell("ls", "-q", "-n", "1").out.strip()
    assert newest in complete("executions show ", 2)
    assert complete(f"executions wait {newest[:-2]}", 2) == [newest]
    assert complete("executions run shop.ad", 2) == ["shop.add"]
    assert complete("executions ls --status ter", 3) == ["terminated"]
    assert complete("executions term", 1) == ["terminate"]


def test_bash_takes_the_completion_script(shell: Shell) -> None:
    script = shell("completion", "bash").out
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


# What it comes to ----------------------------------------------------------------------------------------


def test_queues_failures_and_stats(shell: Shell, waiting: list[str]) -> None:
    bad = [shell.fleet.client.submit("shop.fail", tags=["sad"]) for _ in range(3)]
    for one in bad:
        assert one.wait(timeout=20).status == "failed"
    nobody = next(queue for queue in shell("queues", "--json").json if queue["name"] == "nobody")
    assert (nobody["pending"] >= 3, nobody["workers"]) == (True, [])
    assert any(line.startswith("nobody") and line.endswith("none") for line in shell("queues").lines)

    found = shell("failures", "tag:sad", "--json").json
    assert (len(found["failures"]), found["looked_at"], found["complete"]) == (1, 3, True)
    assert sorted(found["failures"][0]["ids"]) == sorted(one.id for one in bad)
    assert shell("failures", "tag:sad", "--limit", "2", "--json").json["complete"] is False
    assert found["failures"][0]["type"] in shell("failures", "tag:sad").out
    assert shell("failures", "tag:no-such").out == ""
    refused = shell("failures", "stauts:x")
    assert (refused.code, refused.err) == (2, shell("ls", "stauts:x").err), "pointed at where it was written"

    assert shell("stats", "tag:sad", "--json").json == {"counts": {"failed": 3}, "complete": True}
    assert shell("stats", "tag:sad", "--by", "function").lines[-1].split() == ["shop.fail", "3"]
    assert shell("stats", "--by", "mood").code == 2


def test_stats_over_time(shell: Shell) -> None:
    bad = [shell.fleet.client.submit("shop.fail", tags=["timed"]) for _ in range(3)]
    for one in bad:
        assert one.wait(timeout=20).status == "failed"
    assert shell("stats", "tag:timed", "--by", "status", "--since", "1h", "--json").json["counts"] == {"failed": 3}
    found = shell("stats", "tag:timed", "--since", "1h", "--step", "10m", "--json").json
    assert (len(found["steps"]), found["complete"], found["total"]["finished"]) == (6, True, {"failed": 3})
    assert (found["total"]["failure_rate"], found["total"]["success_rate"]) == (1.0, 0.0)
    assert sum(step["ended"] for step in found["steps"]) == 3
    told = shell("stats", "tag:timed", "--step", "12h")
    assert len(told.lines) == 4
    assert told.lines[-1].startswith("in all: 3 created, 3 started, 3 ended, 0.0% of them well and 100.0% failed")
    assert shell("stats", "--step", "1s").code == 2
    assert shell("stats", "--by", "status", "--step", "1h").code == 2


def test_a_download_prints_the_files_that_it_wrote(shell: Shell, seven: list[str], tmp_path: Path) -> None:
    done = shell("download", seven[0], str(tmp_path / "one"))
    files = [tmp_path / "one" / name for name in ("inputs/x.json", "inputs/y.json", "output.json")]
    assert (done.code, done.lines) == (0, [str(file) for file in files])
    assert [json.loads(file.read_text()) for file in files] == [6, 6, 12]
    assert "not an empty folder" in shell("download", seven[0], str(tmp_path / "one")).err


def test_an_export_is_a_whole_file(shell: Shell, seven: list[str], tmp_path: Path) -> None:
    for name, read in (
        ("all.csv", lambda text: [row["id"] for row in csv.DictReader(text.splitlines())]),
        ("all.json", lambda text: [row["id"] for row in json.loads(text)]),
        ("all.jsonl", lambda text: [json.loads(line)["id"] for line in text.splitlines()]),
    ):
        file = tmp_path / name
        assert shell("export", "tag:seven", "-o", str(file)).code == 0
        assert sorted(read(file.read_text())) == sorted(seven), name
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["all.csv", "all.json", "all.jsonl"]
    assert len(shell("export", "tag:seven", "--format", "jsonl").lines) == 7
    whole = shell("export", "--id", seven[1], "--id", "nothing", "--id", seven[0], "--whole")
    assert (whole.code, "nobody has nothing" in whole.err, len(whole.lines)) == (1, True, 3)
    assert [one.output for one in executions.read_export(whole.out.splitlines(keepends=True))] == [10, 12]
    assert shell("export", "-o", str(tmp_path / "all.xml")).code == 1
    assert "cannot be written" in shell("export", "-o", str(tmp_path / "no" / "all.csv")).err
