"""A stand-in model server for large bodies: takes any, and answers with as many bytes as the path asks for.

    python bulk.py      takes a free port and prints `listening on HOST:PORT`

`GET /N` sends N bytes; `POST /N` reads the body, then sends N bytes. `x-received` says how many bytes the body had.
"""

import socketserver

PIECE = bytes(1 << 20)


class Connection(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            size = int(line.split()[1][1:])
            headers = {}
            while (line := self.rfile.readline().strip()):
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            received = sum(self.body(headers))
            self.wfile.write(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\nx-received: {received}\r\n\r\n".encode())
            while size:
                size -= self.connection.send(PIECE[:size])

    def body(self, headers):
        """The lengths of its parts."""
        if "chunked" in headers.get("transfer-encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield from self.part(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield from self.part(int(headers.get("content-length", 0)))

    def part(self, size):
        while size:
            got = len(self.rfile.read1(min(size, 1 << 20)))
            if not got:
                raise ConnectionError
            size -= got
            yield got


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


with Server(("127.0.0.1", 0), Connection) as server:
    print("listening on {}:{}".format(*server.server_address), flush=True)
    server.serve_forever()
