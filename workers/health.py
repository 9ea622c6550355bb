"""`executions-health`: is a worker of this machine alive, and is it ready? Answered from a file, in milliseconds.

Each worker writes its state every second. Nothing is asked of any server, and nothing is imported but Python's own:
a question that costs half a second of processor is asked too seldom, one that needs a server fails with the server.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

#: Seconds after which what a worker wrote says nothing any more. Code that holds the interpreter delays it.
FRESH_S = 15.0

#: Seconds without an answer to the consumer, or to the beats, up to which a worker counts as ready.
STALLED_S = 15.0

USAGE = """usage: executions-health [NAME] [--live | --ready] [--json]

Tells whether the worker NAME of this machine is alive and, unless --live is given, ready: registered, and
consuming. Without a NAME all workers of this machine are asked, and the worst answer counts.
Exit code 0: yes. 1: no. 2: not understood."""


def run_folder(run_dir: str) -> str:
    """Give the folder of the workers' files: what is set, or one for each user below the temporary one."""
    temporary = os.environ.get("TMPDIR") or "/tmp"
    return run_dir or os.path.join(temporary, f"executions-{os.getuid()}")


def file_of(folder: str, name: str) -> str:
    """Give the path of a worker's file."""
    return os.path.join(folder, name.replace("%", "%25").replace("/", "%2F") + ".json")


def started(pid: int) -> tuple[str, str]:
    """Give a process's state and when it started, so that a later one with its pid is told apart; or nothing."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name may hold anything, so count from its closing parenthesis.
            words = file.read().rpartition(b")")[2].split()
        return words[0].decode(), words[19].decode()
    except (OSError, IndexError):
        return "", ""


def read(path: str) -> dict[str, Any]:
    """Read what a worker wrote; a missing or damaged file says nothing."""
    try:
        with open(path, "rb") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def why_not_live(told: dict[str, Any], now: float) -> str:
    """Say why a worker is not alive; nothing if it is."""
    if not told:
        return "has not told of itself"
    state, since = started(told["pid"])
    if state in ("", "Z", "X") or since != told["started"]:
        return f"is gone: process {told['pid']} has ended"
    if state in "Tt":
        return f"is stopped: process {told['pid']} was told to stop"
    # The clock starts anew with the machine, and then the process is another.
    age = now - told["written"]
    return f"hangs: it has not told of itself for {age:.0f} s" if age > FRESH_S else ""


def why_not_ready(told: dict[str, Any], now: float) -> str:
    """Say why a worker that is alive does not take work; nothing if it does."""
    beat, still_s = told["beat"], told["still_s"]
    if told["draining"]:
        return "is draining"
    if beat is None:
        return "is not registered: the registry has not answered yet"
    if now - beat > max(STALLED_S, told["lease_s"]):
        return f"is not registered: the registry has not answered for {now - beat:.0f} s"
    if not told["begun"]:
        return "does not consume yet"
    return f"does not consume: the broker has not answered for {still_s:.0f} s" if still_s >= STALLED_S else ""


def judge(name: str, told: dict[str, Any], now: float) -> dict[str, Any]:
    """Give what is said of one worker."""
    try:
        dead = why_not_live(told, now)
        why = dead or why_not_ready(told, now)
    except (KeyError, TypeError):
        dead = why = "wrote a file that this version does not read"
    return {"name": name, "live": not dead, "ready": not why, "why": why, **told}


def answers(name: str, folder: str) -> list[dict[str, Any]]:
    """Judge one worker, or all of this machine."""
    now = time.monotonic()
    if name:
        return [judge(name, read(file_of(folder, name)), now)]
    try:
        files = [entry for entry in sorted(os.listdir(folder)) if entry.endswith(".json")]
    except OSError:
        files = []
    found = [(entry, read(os.path.join(folder, entry))) for entry in files]
    return [judge(str(told.get("name", entry)), told, now) for entry, told in found]


def main() -> None:
    """Answer, and end with the code."""
    words = sys.argv[1:]
    flags = {word for word in words if word.startswith("-")}
    names = [word for word in words if not word.startswith("-")]
    if flags & {"-h", "--help"}:
        print(USAGE)
        sys.exit(0)
    if len(names) > 1 or flags - {"--live", "--ready", "--json"} or {"--live", "--ready"} <= flags:
        print(USAGE, file=sys.stderr)
        sys.exit(2)
    asked = "live" if "--live" in flags else "ready"
    folder = run_folder(os.environ.get("EXECUTIONS_RUN_DIR", ""))
    found = answers("".join(names), folder)
    if "--json" in flags:
        print(json.dumps(found))
    elif found:
        print("; ".join(f"{one['name']} {'is ' + asked if one[asked] else one['why']}" for one in found))
    else:
        print(f"no worker of this machine has told of itself in {folder}")
    sys.exit(0 if found and all(one[asked] for one in found) else 1)


if __name__ == "__main__":
    main()
