"""Whoever is asked for an alarm's state: a webhook and a Prometheus, which answer as a test tells them to, well or badly."""

import http.server
import json
import threading
import time
import urllib.parse

BIG = 10 << 20


class Oracle(http.server.ThreadingHTTPServer):
    """`says` is what is answered: a state for a webhook, values for a Prometheus, or the name of something wrong."""

    daemon_threads = True

    def __init__(self, says, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.says = says
        self.asked = []
        self.ends = threading.Event()
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.url = "{}://localhost:{}".format("https" if tls else "http", self.server_address[1])
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        """A client that gives up is what some tests are about."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """What was asked is in `asked`."""

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        self.answer(self.rfile.read(length).decode())

    def do_GET(self):
        self.answer("")

    def answer(self, body):
        server, says = self.server, self.server.says
        server.asked.append({"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}, "body": body})
        wrong = getattr(self, f"say_{says}", None) if isinstance(says, str) else None
        if wrong:
            wrong()
        elif self.path.startswith("/prom/api/v1/query"):
            query = urllib.parse.parse_qs(body)["query"][0]
            series = [{"metric": {"n": str(n)}, "value": [time.time(), value]} for n, value in enumerate(says)]
            server.asked[-1]["query"] = query
            self.send(json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}}))
        else:
            self.send(json.dumps({"state": says, "reason": f"it is {says}, says {self.headers.get('authorization')}"}))

    def send(self, text, status=200, kind="application/json", **headers):
        body = text if isinstance(text, bytes) else text.encode()
        self.send_response(status)
        for name, value in ({"content-type": kind, "content-length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def say_hang(self):
        self.server.ends.wait()

    def say_drip(self):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "1000")
        self.end_headers()
        while not self.server.ends.wait(0.05):
            self.wfile.write(b" ")

    def say_garbage(self):
        self.wfile.write(b"\x00\xffwhat? \r\n\r\n")
        self.close_connection = True

    def say_nothing(self):
        self.close_connection = True

    def say_big(self):
        self.send(b'{"state": "ok", "reason": "' + b"x" * BIG + b'"}')

    def say_endless_head(self):
        self.send_response(200)
        for number in range(20_000):
            self.send_header(f"x-{number}", "x" * 50)
        self.end_headers()
        self.close_connection = True

    def say_html(self):
        self.send("<p>ok</p>", kind="text/html")

    def say_redirect(self):
        self.send("", status=302, location=self.server.url + "/elsewhere")

    def say_error(self):
        self.send("{}", status=500)

    def say_fine(self):
        self.send(json.dumps({"state": "fine"}))

    def say_short(self):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "100")
        self.end_headers()
        self.wfile.write(b'{"state": "ok"')
        self.close_connection = True
