"""Many connections that last, to servers that close what is idle: whoever asks again just then is answered all the same."""

import asyncio
import contextlib
import itertools
import random

from nemesis import meters
from workbench import Snapback, wait_for

CLIENTS = 50
# Of each client. What a server with its five seconds would take minutes for, these do in ten.
REQUESTS = 40
IDLE_SECONDS = 0.25
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


# A server gives each connection up after so many answers, in the very moment in which the next request arrives.
ANSWERS = 10


class Server:
    """Closes a connection on which nothing came for a while, without a word, and counts."""

    def __init__(self):
        self.served = self.closed = self.met = 0

    async def connection(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for answers in itertools.count():
                try:
                    if answers == ANSWERS:
                        self.met += bool(await asyncio.wait_for(reader.read(1), IDLE_SECONDS))
                        break
                    await asyncio.wait_for(reader.readuntil(b"\r\n\r\n{}"), IDLE_SECONDS)
                except TimeoutError:
                    self.closed += 1
                    break
                self.served += 1
                writer.write(ANSWER)
        writer.close()


async def client(address, rng):
    """Its answers' statuses, all of them over one connection; each request comes about when the server gives the last one's connection up."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    statuses = []
    for _ in range(REQUESTS):
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        statuses.append(int(head.split()[1]))
        await asyncio.sleep(rng.uniform(0.9, 1.1) * IDLE_SECONDS)
    writer.close()
    return statuses


async def run(folder):
    blue, green, rng = Server(), Server(), random.Random(7)
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for server in (blue, green):
            listening = await stack.enter_async_context(await asyncio.start_server(server.connection, "127.0.0.1", 0, backlog=256))
            addresses.append("{}:{}".format(*listening.sockets[0].getsockname()))
        # What steers the proxy blocks, and the servers must go on meanwhile.
        steer = asyncio.to_thread
        endpoint = {"name": "chat", "blue": {"version": "v1", "instances": [addresses[0]]}}
        proxy = await steer(lambda: stack.enter_context(Snapback(folder, [endpoint])))
        split = proxy.split("chat", addresses[1], "50%")
        await steer(split.__enter__)
        answers = await asyncio.gather(*(client(proxy.address, rng) for _ in range(CLIENTS)))
        counted = await steer(wait_for, "they are counted", lambda: (now := meters(proxy))["in flight"] == 0 and now)
        await steer(split.__exit__, None, None, None)
    return answers, counted, blue, green


def test_requests_that_come_when_idle_connections_are_closed_are_all_answered_and_nothing_counts_against_green(tmp_path):
    answers, counted, blue, green = asyncio.run(run(tmp_path))
    assert answers == [[200] * REQUESTS] * CLIENTS
    for side, server in (("blue", blue), ("green", green)):
        assert counted[side, "success"] == server.served > 0, "each request ran once"
        assert server.closed + server.met > CLIENTS, "there was something to meet"
    assert counted["blue", "success"] + counted["green", "success"] == CLIENTS * REQUESTS
    assert counted["blue", "retried"] + counted["green", "retried"] >= blue.met + green.met > 0, "some met it"
