"""An orchestrator in miniature, for a provider of type "command": its instances are processes of ../processes/model.py.

One JSON document comes on standard input, one goes to standard output; what goes wrong is said on standard error, with another status than
0. A real one asks a cloud or a scheduler instead, and uses "fleet" as the name or label by which it knows what it has made.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

question = json.load(sys.stdin)
folder = pathlib.Path(os.environ.get("FLEETS", "fleets")) / question["fleet"]
model = pathlib.Path(__file__).parent.parent / "processes" / "model.py"


def existing() -> list[dict[str, str]]:
    files = sorted(folder.glob("*.json")) if folder.exists() else []
    return [json.loads(file.read_text())["instance"] for file in files]


def start() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, str(model), str(port), question["version"]]
    nothing = subprocess.DEVNULL
    process = subprocess.Popen(words, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing)
    instance = {"id": str(process.pid), "address": f"127.0.0.1:{port}"}
    (folder / f"{process.pid}.json").write_text(json.dumps({"pid": process.pid, "instance": instance}))


def stop(instance: dict[str, str]) -> None:
    file = folder / f"{instance['id']}.json"
    if file.exists():
        try:
            os.kill(json.loads(file.read_text())["pid"], signal.SIGTERM)
        except ProcessLookupError:
            pass  # It is gone already, which is what was asked for.
        file.unlink()


match question["action"]:
    case "provision":
        folder.mkdir(parents=True, exist_ok=True)
        while len(existing()) < question["count"]:
            start()
        for surplus in existing()[question["count"] :]:
            stop(surplus)
        print(json.dumps({"instances": existing()}))
    case "list":
        print(json.dumps({"instances": existing()}))
    case "retire":
        for instance in question["instances"]:
            stop(instance)
