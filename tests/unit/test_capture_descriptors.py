"""In a process that runs one execution at a time everything it writes is caught, whoever writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import executions

#: Where the tested package is, installed or not.
TESTED = Path(executions.__file__).parents[1]

#: Runs in a process of its own; what it calls `body` runs in a forked child, as in a prefork worker.
FRAME = """
import ctypes, json, logging, os, subprocess, sys, threading
from sys import stdout as kept_from_before
from executions import capture
from executions.settings import Settings

logging.basicConfig(stream=sys.__stderr__, format="LOG %(message)s", level="INFO")

class Sink:
    lines = []
    def append(self, execution_id, attempt, batches, drop=()):
        for batch in batches:
            self.lines += [(execution_id, line.stream, line.message) for line in batch]

sink = Sink()

def attempt(name):
    return capture.attempt(capture.LogWriter(name, 1, sink, Settings(log_flush_s=3600)))

def body():
    libc = ctypes.CDLL(None)
{body}

if os.fork() == 0:
    capture.install(descriptors=True)
    body()
    capture.uninstall()
    with open(sys.argv[1], "w") as file:
        json.dump(sink.lines, file)
    print("after", flush=True)
    os._exit(0)
assert os.wait()[1] == 0
"""


class Ran:
    def __init__(self, lines: list[tuple[str, str, str]], out: str, err: str) -> None:
        self.lines = lines
        self.out = out
        self.err = err

    def of(self, execution: str, stream: str | None = None) -> list[str]:
        return [text for name, line_stream, text in self.lines if name == execution and stream in (None, line_stream)]


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Run a body in a forked child and give what was caught and what came out."""

    def run(body: str) -> Ran:
        indented = "\n".join("    " + line for line in body.strip().splitlines())
        done = subprocess.run(
            [sys.executable, "-c", FRAME.replace("{body}", indented), str(tmp_path / "lines")],
            cwd=TESTED,
            capture_output=True,
            timeout=60,
            check=True,
        )
        lines = [tuple(line) for line in json.loads((tmp_path / "lines").read_text())]
        return Ran(lines, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    return run


def test_python_c_and_child_processes_are_caught_once_each(run: Any) -> None:
    ran = run("""
with attempt("a"):
    print("python")
    print("python's stderr", file=sys.stderr)
    logging.getLogger().info("logging")
    libc.puts(b"c library")
    libc.write(2, b"system call\\n", 12)
    subprocess.run(["sh", "-c", "echo child; echo child error >&2"])
    kept_from_before.write("old reference\\n")
    sys.stdout.buffer.write(b"bytes\\n")
    os.write(1, b"no newline")
""")
    assert sorted(ran.of("a", "stdout")) == sorted(
        ["python", "c library", "child", "old reference", "bytes", "no newline"]
    )
    assert sorted(ran.of("a", "stderr")) == sorted(["python's stderr", "system call", "child error"])
    assert ran.of("a", "logging") == ["logging"]
    # All of it went on to where it would have gone without us, once.
    out = ran.out.replace("no newline", "no newline\n")
    assert sorted(out.splitlines()) == sorted([*ran.of("a", "stdout"), "after"])
    assert ran.err.count("LOG logging") == 1
    assert ran.err.count("system call") == 1


def test_what_was_written_before_the_end_belongs_to_the_execution(run: Any) -> None:
    ran = run("""
for number in range(50):
    with attempt(f"x{number}"):
        libc.printf(b"mine %d", number)
        os.write(2, b"and %d\\n" % number)
    os.write(1, b"between\\n")
""")
    for number in range(50):
        assert ran.of(f"x{number}") == [f"and {number}", f"mine {number}"]
    assert ran.out.count("between\n") == 50


def test_a_child_process_that_prints_much_is_caught_to_its_end(run: Any) -> None:
    ran = run("""
with attempt("a"):
    subprocess.run(["seq", "1", "300000"])
""")
    assert ran.of("a")[0] == "1"
    assert ran.of("a")[-1] == "300000"
    assert len(ran.of("a")) < 13_000
    assert ran.out.splitlines()[-2:] == ["300000", "after"]


def test_a_child_process_that_goes_on_does_not_hold_the_end_up(run: Any) -> None:
    ran = run("""
with attempt("a"):
    endless = subprocess.Popen(["yes"], stderr=subprocess.DEVNULL)
    os.write(1, b"")
endless.kill()
endless.wait()
with attempt("b"):
    print("next")
""")
    assert set(ran.of("a")) <= {"y"}
    assert ran.of("b") == ["next"]


def test_an_eager_run_within_an_execution_gives_the_descriptors_back(run: Any) -> None:
    ran = run("""
with attempt("outer"):
    os.write(1, b"before\\n")
    with attempt("inner"):
        os.write(1, b"inside\\n")
    os.write(1, b"after\\n")
""")
    assert ran.of("outer") == ["before", "after"]
    assert ran.of("inner") == ["inside"]


def test_threads_of_the_function_are_caught(run: Any) -> None:
    ran = run("""
with attempt("a"):
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()
thread = threading.Thread(target=print, args=("nobody's",))
thread.start()
thread.join()
""")
    assert ran.of("a") == ["from a thread"]
    assert "nobody's\n" in ran.out


def test_a_process_that_the_function_forks_is_caught(run: Any) -> None:
    ran = run("""
with attempt("a"):
    print("parent")
    if os.fork() == 0:
        print("forked", flush=True)
        logging.getLogger().info("forked log")
        os._exit(0)
    os.wait()
    print("parent again")
""")
    assert sorted(ran.of("a")) == ["LOG forked log", "forked", "parent", "parent again"]
    assert ran.out.count("forked") == 1


def test_binary_junk_is_a_line_like_any_other(run: Any) -> None:
    ran = run("""
with attempt("a"):
    os.write(1, b"caf\\xc3")
    os.write(1, b"\\xa9 \\xff\\xfe \\x00\\n")
""")
    assert ran.of("a") == ["café \\xff\\xfe \x00"]
