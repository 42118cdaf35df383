"""A model server that speaks WebSocket: it says everything again, and closes when and how it is told to."""

import asyncio

from websockets.asyncio.server import serve


async def answer(socket):
    async for message in socket:
        if isinstance(message, str) and message.startswith("close "):
            await socket.close(int(message.split()[1]), "as told")
            return
        if message == "headers":
            message = repr(sorted((key.lower(), value) for key, value in socket.request.headers.raw_items()))
        await socket.send(message)


def choose(_, offered):
    return "tokens.v1" if "tokens.v1" in offered else None


async def main():
    options = {"max_size": None, "ping_interval": None, "select_subprotocol": choose}
    async with serve(answer, "127.0.0.1", 0, **options) as server:
        host, port = server.sockets[0].getsockname()
        print(f"listening on {host}:{port}", flush=True)
        await server.serve_forever()


asyncio.run(main())
