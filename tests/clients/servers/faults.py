"""A stand-in model server that sends, byte for byte, answers and failures of real ones that are hard to provoke in them.

    python faults.py [CASE]     takes a free port and prints `listening on HOST:PORT`

The first segment of the path names the case, whatever follows it, unless one case is given for all; every method is answered. Streams
are HTTP 200 with text/event-stream unless said otherwise.

  ok               llama.cpp-like: a role chunk, 5 tokens, finish_reason, usage, [DONE]
  vllm-error       2 tokens, data: {"error":{message,type,param,code}}, [DONE]
  vllm-early       the role chunk, then the same error in place of the first token, [DONE]
  vllm-empty       only [DONE]: a generation that failed before its first token
  vllm-abort       2 tokens, finish_reason "abort", [DONE]: SIGTERM without a shutdown timeout
  sglang-error     2 tokens, data: {"error":{"object":"error",...}}, [DONE]
  sglang-400       HTTP 400, flat {"object":"error","message",...}
  tgi-error        2 tokens, data: {"error":{"message","http_status_code":422}}, [DONE]
  tgi-native       a token, data: {"error":"...","error_type":"generation"}, no [DONE]
  tgi-424          HTTP 424 {"error":...}: the model failed
  llama-old        2 tokens, `error: {...}` as an SSE field, [DONE]
  ollama-error     application/x-ndjson, 2 lines, then {"error":"..."}
  anthropic-error  event: error / data: {"type":"error",...}
  openai-completed Responses API: typed events that end with response.completed, no [DONE]
  openai-failed    Responses API: response.failed
  litellm-error    2 tokens, an in-band error, then close without [DONE]
  clean-no-done    2 tokens, clean end of the body, no finish_reason, no [DONE]
  truncated        2 tokens, then the connection closes without the last chunk
  truncated-half   the same, in the middle of an event
  reset            2 tokens, then RST
  stall            2 tokens, then nothing until the client goes
  pings            3 comments before the first token, then ok
  paced            ok, a quarter of a second before the first token and 80 ms before each event after it
  crlf             ok with CRLF line ends
  onechunk         ok, all events in one write
  bytewise         ok, one byte per write
  nosse            bare text labelled text/event-stream (BentoML generators)
  late-close       answers, then closes the kept-alive connection at once, without Connection: close
  drop             reads the request and closes without a byte
  mute             nothing at all, until the client goes
  gated            ok, and a comment before the first token; each event after the first waits for a POST /open
  echo             JSON: method, target, headers, length and SHA-256 of the body, and trailers, as received
  health           200
  served, left     how many requests of all cases above came, and from how many of `mute` the client went
"""

import asyncio
import fcntl
import hashlib
import json
import socket
import struct
import sys
import termios

SSE = "text/event-stream"


def data(value):
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


def event(name, value):
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode()


def chunk(delta=None, finish=None):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return data({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny", "choices": [choice]})


DONE = data("[DONE]")
ROLE = chunk({"role": "assistant", "content": None})
TWO = [ROLE, chunk({"content": " a"}), chunk({"content": " b"})]
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
USAGE_CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "tiny", "choices": [], "usage": USAGE}
OK = [ROLE, *(chunk({"content": f" t{i}"}) for i in range(5)), chunk(finish="length"), data(USAGE_CHUNK), DONE]
COMMENT = b": keep-alive\n\n"
VLLM = {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "param": None, "code": 500}
SGLANG = {"object": "error", "message": "Generation aborted.", "type": "INTERNAL_SERVER_ERROR", "param": None, "code": 500}
TGI = {"message": "Request failed during generation: CUDA error", "http_status_code": 422}
TGI_NATIVE = {"error": "Request failed during generation: Server error", "error_type": "generation"}
LITELLM = {"message": "APIConnectionError", "type": None, "param": None, "code": "500"}
LLAMA_OLD = b'error: {"code":400,"message":"the request exceeds the available context size.","type":"invalid_request_error"}\n\n'
MESSAGE = {"type": "message_start", "message": {"id": "m", "role": "assistant", "content": []}}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
CREATED = event("response.created", {"type": "response.created", "response": {"status": "in_progress"}})
COMPLETED = {"status": "completed", "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}}
FAILED = {"status": "failed", "error": {"code": "server_error", "message": "boom"}}

# The parts of each stream, one chunk of the body each.
STREAMS = {
    "ok": OK,
    "gated": [COMMENT, *OK],
    "paced": OK,
    "vllm-error": [*TWO, data({"error": VLLM}), DONE],
    "vllm-early": [ROLE, data({"error": VLLM}), DONE],
    "vllm-empty": [DONE],
    "vllm-abort": [*TWO, chunk({"content": ""}, "abort"), DONE],
    "sglang-error": [*TWO, data({"error": SGLANG}), DONE],
    "tgi-error": [*TWO, data({"error": TGI}), DONE],
    "tgi-native": [data({"index": 1, "token": {"id": 5, "text": " a"}, "generated_text": None}), data(TGI_NATIVE)],
    "llama-old": [*TWO, LLAMA_OLD, DONE],
    "ollama-error": [
        b'{"model":"m","response":" a","done":false}\n',
        b'{"model":"m","response":" b","done":false}\n',
        b'{"error":"an error was encountered while running the model"}\n',
    ],
    "anthropic-error": [event("message_start", MESSAGE), event("ping", {"type": "ping"}), event("error", OVERLOADED)],
    "openai-completed": [
        CREATED,
        event("response.output_text.delta", {"type": "response.output_text.delta", "delta": " a"}),
        event("response.completed", {"type": "response.completed", "response": COMPLETED}),
    ],
    "openai-failed": [CREATED, event("response.failed", {"type": "response.failed", "response": FAILED})],
    "litellm-error": [*TWO, data({"error": LITELLM})],
    "clean-no-done": TWO,
    "truncated": TWO,
    "truncated-half": [*TWO, chunk({"content": " cut"})[:40]],
    "reset": TWO,
    "stall": TWO,
    "pings": [COMMENT] * 3 + OK,
    "crlf": [part.replace(b"\n", b"\r\n") for part in OK],
    "onechunk": [b"".join(OK)],
    "bytewise": [bytes([byte]) for byte in b"".join(OK)],
    "nosse": [b"tok0 ", b"tok1 ", b"tok2 "],
}
PLAIN = {
    "late-close": ("200 OK", {"ok": True}),
    "sglang-400": ("400 Bad Request", {**SGLANG, "message": "Requested token count exceeds", "code": 400}),
    "tgi-424": ("424 Failed Dependency", {"error": "Request failed during generation: CUDA", "error_type": "generation"}),
}


def as_pair(line):
    """Name and value of a header's line; bytes above ASCII are part of a value, whatever Unicode calls them."""
    name, _, value = line.partition(":")
    return name, value.strip(" \t")


class Request:
    """One request, its body read to the end and hashed, not kept."""

    def __init__(self, head):
        line, *fields = head.decode("latin1").removesuffix("\r\n\r\n").split("\r\n")
        self.method, self.target, _ = line.split(" ", 2)
        self.headers = [as_pair(field) for field in fields]
        self.trailers = []
        self.case = self.target.strip("/").split("/")[0].split("?")[0]
        self.length, self.digest = 0, hashlib.sha256()

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name), "").lower()

    async def read_body(self, reader, writer):
        if self.header("expect") == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.header("transfer-encoding") != "chunked":
            return await self._take(reader, int(self.header("content-length") or 0))
        while size := int((await reader.readline()).split(b";")[0], 16):
            await self._take(reader, size)
            await reader.readline()
        while line := (await reader.readline()).decode("latin1").removesuffix("\r\n"):
            self.trailers.append(as_pair(line))

    async def _take(self, reader, size):
        while size:
            part = await reader.read(min(size, 1 << 20))
            if not part:
                raise asyncio.IncompleteReadError(b"", size)
            self.length += len(part)
            self.digest.update(part)
            size -= len(part)

    def described(self):
        return {
            "method": self.method,
            "target": self.target,
            "headers": self.headers,
            "length": self.length,
            "sha256": self.digest.hexdigest(),
            "trailers": self.trailers,
        }


class Server:
    def __init__(self, only):
        self.only = only
        self.served = 0
        self.left = 0
        self.gate = asyncio.Semaphore(0)

    async def connection(self, reader, writer):
        try:
            stays = True
            while stays:
                request = Request(await reader.readuntil(b"\r\n\r\n"))
                await request.read_body(reader, writer)
                stays = await self.answer(request, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, request, reader, writer):
        """Whether the connection goes on."""
        case = request.case
        if case == "health":
            return self.plain(writer, request, "200 OK", {"status": "ok"})
        if case == "served":
            return self.plain(writer, request, "200 OK", self.served)
        if case == "left":
            return self.plain(writer, request, "200 OK", self.left)
        if case == "open":
            self.gate.release()
            return self.plain(writer, request, "200 OK", {})
        self.served += 1
        case = self.only or case
        if case == "drop":
            return False
        if case == "mute":
            await reader.read()
            self.left += 1
            return False
        if case == "echo":
            return self.plain(writer, request, "200 OK", request.described())
        if case in PLAIN:
            self.plain(writer, request, *PLAIN[case])
            return case != "late-close"
        if case in STREAMS:
            return await self.stream(case, reader, writer)
        return self.plain(writer, request, "404 Not Found", {"error": f"no case {case}"})

    def plain(self, writer, request, status, value):
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        writer.write(head if request.method == "HEAD" else head + body)
        return True

    async def stream(self, case, reader, writer):
        media = "application/x-ndjson" if case == "ollama-error" else SSE
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        # A write for each part, so that parts arrive apart.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place, part in enumerate(STREAMS[case]):
            if case == "gated" and place > 0:
                await self.gate.acquire()
            if case == "paced" and place > 0:
                await asyncio.sleep(0.25 if place == 1 else 0.08)
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(0)
        if case == "reset":
            # Aborting at once could overtake what was written: the peer must have taken it.
            await self.until_acknowledged(writer)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        if case == "stall":
            await reader.read()
        if case in ("reset", "stall", "truncated", "truncated-half"):
            return False
        writer.write(b"0\r\n\r\n")
        return case != "litellm-error"

    async def until_acknowledged(self, writer):
        """Waits until the kernel's send queue is empty (SIOCOUTQ has TIOCOUTQ's number)."""
        fileno = writer.get_extra_info("socket").fileno()
        while struct.unpack("i", fcntl.ioctl(fileno, termios.TIOCOUTQ, b"\0" * 4))[0]:
            await asyncio.sleep(0.001)


async def main():
    server = await asyncio.start_server(Server(next(iter(sys.argv[1:]), None)).connection, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"listening on {host}:{port}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
