"""A gRPC server with every form of call and every way to fail, for tests of what stands in front of it.

    python calls.py [FAULT]

Messages are bytes without a schema. What a call does is in its `do` metadata, or the same FAULT for every call that says nothing:

  echo             the messages back as they came; what `collect` got is joined, and `count` sends its message `times` times
  status:N         ends with status N before a message
  late:N           sends its head, and then ends with status N
  after:N          ends with status N after the first message
  wait:MS          the messages back, each after so many milliseconds
  hang             takes the request and never answers
  hang-after       the same after the first message
  abort            dies without a word: the connection ends

Every answer has what the caller sent as `own-...` metadata, in its head and, renamed to `own-end-...`, in its trailers; `left-ms` in the
trailers is how much time the server believed to have. The method `/test.Calls/counts` answers with how many calls were begun, are open,
and were cancelled, as JSON.
"""

import asyncio
import json
import os
import sys

import grpc

LARGEST = 256 << 20
OPTIONS = [("grpc.max_receive_message_length", LARGEST), ("grpc.max_send_message_length", LARGEST)]


class Calls:
    def __init__(self, fault):
        self.fault = fault
        self.begun = self.cancelled = self.ended = 0

    async def run(self, messages, context, answer):
        """One call: what every form has in common."""
        self.begun += 1
        try:
            metadata = [(key, value) for key, value in context.invocation_metadata() if key.startswith("own-")]
            left = context.time_remaining()
            end = [("own-end-" + key.removeprefix("own-"), value) for key, value in metadata]
            end.append(("left-ms", "none" if left is None else str(int(left * 1000))))
            context.set_trailing_metadata(end)
            what, _, number = dict(context.invocation_metadata()).get("do", self.fault).partition(":")
            seconds = int(number) / 1000 if what == "wait" else 0
            status = STATUS[0 if what == "wait" else int(number or 0)]
            if what == "status":
                await context.abort(status, "as told")
            if what == "abort":
                os._exit(1)
            first = await anext(messages, None)
            if what == "hang":
                await asyncio.Event().wait()
            await context.send_initial_metadata(metadata)
            if what == "late":
                await context.abort(status, "as told")
            sent = 0
            async for message in answer(first, messages):
                await asyncio.sleep(seconds)
                yield message
                sent += 1
                if what == "after" and sent == 1:
                    await context.abort(status, "as told")
                if what == "hang-after" and sent == 1:
                    await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended += 1

    async def unary(self, request, context):
        async for message in self.run(once(request), context, echo):
            return message

    async def collect(self, requests, context):
        async for message in self.run(aiter(requests), context, joined):
            return message

    async def count(self, request, context):
        times = int(dict(context.invocation_metadata()).get("times", "1"))
        async for message in self.run(once(request), context, lambda first, _: repeated(first, times)):
            yield message

    async def converse(self, requests, context):
        async for message in self.run(aiter(requests), context, echo):
            yield message

    async def counts(self, request, context):
        counts = {"begun": self.begun, "open": self.begun - self.ended, "cancelled": self.cancelled}
        return json.dumps(counts).encode()


STATUS = {status.value[0]: status for status in grpc.StatusCode}


async def once(message):
    yield message


async def echo(first, messages):
    if first is not None:
        yield first
    async for message in messages:
        yield message


async def joined(first, messages):
    yield b"".join([message async for message in echo(first, messages)])


async def repeated(message, times):
    for _ in range(times):
        yield message


async def main():
    calls = Calls(sys.argv[1] if len(sys.argv) > 1 else "echo")
    server = grpc.aio.server(options=OPTIONS)
    handlers = {
        "unary": grpc.unary_unary_rpc_method_handler(calls.unary),
        "collect": grpc.stream_unary_rpc_method_handler(calls.collect),
        "count": grpc.unary_stream_rpc_method_handler(calls.count),
        "converse": grpc.stream_stream_rpc_method_handler(calls.converse),
        "counts": grpc.unary_unary_rpc_method_handler(calls.counts),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Calls", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


asyncio.run(main())
