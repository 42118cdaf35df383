#!/usr/bin/env python3
"""From the start of a killed proxy to its first served request, with many endpoints in the journal and a shift under way on each tenth.

    benches/startup.py [BINARY] [ENDPOINTS] [ROUNDS]

Prints the milliseconds of each round: from the process's start until a client that tries again and again has a 200 in its hands.
"""

import http.client
import http.server
import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    # The first checks of all endpoints come at once; with a queue of five the system drops some for a second.
    request_queue_size = 1024


def model():
    server = Server(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"127.0.0.1:{server.server_port}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def start(binary, config, port):
    """Starts the proxy, and says how long the first 200 took."""
    begun = time.monotonic()
    process = subprocess.Popen([binary, "serve", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            if ask(port, "POST", "/e0/v1/completions", "{}")[0] == 200:
                return process, (time.monotonic() - begun) * 1000
        except OSError:
            if process.poll() is not None:
                sys.exit("the proxy has ended")
            time.sleep(0.0005)


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else "target/release/snapback"
    endpoints = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    blue, green, data, admin = model(), model(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "snapback.toml")
        text = f'[data]\nlisten = ["127.0.0.1:{data}"]\n[admin]\nlisten = "127.0.0.1:{admin}"\n[state]\npath = "{folder}/snapback.db"\n'
        for place in range(endpoints):
            text += f'[[endpoint]]\nname = "e{place}"\nmatch = {{ path_prefix = "/e{place}/" }}\n'
            text += f'blue = {{ version = "v1", instances = ["{blue}"] }}\n'
        config.write_text(text)
        process, first = start(binary, config, data)
        plan = {
            "green": {"version": "v2", "instances": [green]},
            "strategy": {"type": "canary", "share": "10%", "bake": "20m", "final_bake": "1m"},
            "guard": [{"metric": "error_rate", "below": "1%"}],
        }
        for place in range(0, endpoints, 10):
            status, body = ask(admin, "POST", f"/v1/endpoints/e{place}/shifts", json.dumps(plan))
            assert status == 201, body
        took = []
        for _ in range(rounds):
            process.kill()
            process.wait()
            process, millis = start(binary, config, data)
            took.append(millis)
        process.kill()
        process.wait()
    took.sort()
    print(f"first start {first:.0f} ms; after kill -9: best {took[0]:.0f} ms, median {took[len(took) // 2]:.0f} ms, worst {took[-1]:.0f} ms of {rounds}")


if __name__ == "__main__":
    main()
