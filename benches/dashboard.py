#!/usr/bin/env python3
"""What open dashboards cost the data plane: 200 endpoints, a shift under way, an even load, and streams of dashboards in every other round.

    benches/dashboard.py [BINARY] [DASHBOARDS] [ROUNDS] [SECONDS]

Half of the dashboards follow all endpoints, half the one with the shift. Needs nginx as a model server and h2load as the load. Prints for each kind of round
the workers' processor time for a request, and that of all other threads for a second, as medians over rounds.
"""

import http.client
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

RATE, CLIENTS, ENDPOINTS = 4_000, 16, 200


def free_ports(count):
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def nginx(folder, ports):
    servers = "".join(f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 ok; }} }}" for port in ports)
    config = folder / "nginx.conf"
    config.write_text(
        f"worker_processes 1; daemon off; pid {folder}/pid; error_log /dev/null; events {{}}"
        f" http {{ access_log off; keepalive_requests 1000000000; {servers} }}"
    )
    return subprocess.Popen(["nginx", "-c", config], stderr=subprocess.DEVNULL)


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, json.dumps(body) if body else None, {"content-type": "application/json"})
    return json.loads(connection.getresponse().read())


def thread_seconds(process):
    """Processor seconds of the workers, and of all other threads."""
    workers = others = 0
    for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        # In nanoseconds, which the ticks of `stat` are too coarse for.
        spent = int((task / "schedstat").read_text().split()[0]) / 1e9
        if (task / "comm").read_text().startswith("worker-"):
            workers += spent
        else:
            others += spent
    return workers, others


class Dashboards:
    """Streams that are read as fast as they come."""

    def __init__(self, port, count):
        self.bytes, self.sockets = 0, []
        for number in range(count):
            stream = socket.create_connection(("127.0.0.1", port))
            path = "/v1/live" if number % 2 else "/v1/live?endpoint=e0"
            stream.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())
            self.sockets.append(stream)
            threading.Thread(target=self.read, args=[stream], daemon=True).start()

    def read(self, stream):
        while data := stream.recv(1 << 16):
            self.bytes += len(data)

    def close(self):
        for stream in self.sockets:
            stream.shutdown(socket.SHUT_RDWR)
            stream.close()


def main():
    defaults = ["target/release/snapback", "10", "8", "8"]
    binary, dashboards, rounds, seconds = [*sys.argv[1:], *defaults[len(sys.argv) - 1 :]]
    dashboards, rounds, seconds = int(dashboards), int(rounds), int(seconds)
    folder = pathlib.Path(tempfile.mkdtemp())
    blue, green, data, admin = free_ports(4)
    endpoints = "".join(
        f'[[endpoint]]\nname = "e{number}"\nmatch = {{ path_prefix = "/e{number}/" }}\n'
        f'blue = {{ version = "v1", instances = ["127.0.0.1:{blue}"] }}\n'
        for number in range(ENDPOINTS)
    )
    config = folder / "snapback.toml"
    config.write_text(
        f'[data]\nlisten = ["127.0.0.1:{data}"]\nworkers = 1\n[admin]\nlisten = "127.0.0.1:{admin}"\n'
        f'[state]\npath = "{folder}/snapback.db"\n{endpoints}'
    )
    # Requests of all endpoints, half of them of the one that shifts: every row of the overview changes each second.
    urls = folder / "urls"
    urls.write_text("".join(f"http://127.0.0.1:{data}/e{0 if n % 2 else n // 2 % ENDPOINTS}/x\n" for n in range(2 * ENDPOINTS)))
    server = nginx(folder, [blue, green])
    proxy = subprocess.Popen([binary, "serve", "-c", config], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        while not (line := proxy.stdout.readline()).startswith("admin:"):
            assert line, "the proxy ended"
        plan = {
            "green": {"version": "v2", "instances": [f"127.0.0.1:{green}"]},
            "strategy": {"type": "steps", "steps": [{"share": "10%", "bake": "1h"}]},
            "guard": [{"metric": "error_rate", "below": "1%"}, {"metric": "latency", "quantile": "p99", "below": "1s"}],
        }
        while "status" in ask(admin, "GET", "/v1/endpoints/e0"):
            pass  # It answers that it is busy while all endpoints have their first checks.
        shift = ask(admin, "POST", "/v1/endpoints/e0/shifts", plan)
        assert shift.get("id"), shift
        figures = {0: [], dashboards: []}
        for number in range(2 * rounds + 1):
            count = dashboards if number % 2 else 0
            opened = Dashboards(admin, count)
            before, start = thread_seconds(proxy), time.monotonic()
            load = ["h2load", "--h1", "-c", str(CLIENTS), "-D", str(seconds), f"--rps={RATE // CLIENTS}", "-i", urls]
            said = subprocess.run(load, capture_output=True, text=True, check=True).stdout
            took, after = time.monotonic() - start, thread_seconds(proxy)
            opened.close()
            done = int(said.split(" succeeded")[0].rsplit(" ", 1)[1])
            # The first round is for the pools.
            if number > 0:
                worker, other = (after[0] - before[0]) * 1e6 / done, (after[1] - before[1]) * 1e3 / took
                figures[count].append((worker, other, done / took, opened.bytes / took / 1024))
        print(f"{'dashboards':>10} {'worker us/request':>18} {'others ms/s':>12} {'requests/s':>11} {'KiB/s out':>10}")
        for count, rows in figures.items():
            middle = [statistics.median(column) for column in zip(*rows)]
            print(f"{count:>10} {middle[0]:>18.2f} {middle[1]:>12.2f} {middle[2]:>11.0f} {middle[3]:>10.0f}")
        for count, rows in figures.items():
            print(f"{count} dashboards, worker us/request: " + " ".join(f"{row[0]:.2f}" for row in rows))
    finally:
        for process in (proxy, server):
            process.terminate()
            process.wait()


main()
