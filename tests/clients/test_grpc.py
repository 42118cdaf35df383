"""gRPC's own client and server on both sides of the proxy: what one says is what the other gets, and what green fails costs nobody a call."""

import concurrent.futures
import contextlib
import json
import os

import grpc
import pytest
from workbench import PATIENCE_SECONDS, Script, Snapback, ask, wait_for

OPTIONS = [("grpc.max_receive_message_length", 256 << 20), ("grpc.max_send_message_length", 256 << 20)]
FORMS = ["unary", "collect", "count", "converse"]
METADATA = (("own-word", "ein Wort, with spaces"), ("own-word", "again"), ("own-bytes-bin", bytes(range(256))), ("times", "3"))
# As many calls as half a fleet needs for its share to be seen.
CALLS = 40


def fleet(address, version="v1"):
    return {"version": version, "instances": [address], "protocol": "h2c"}


class Client:
    """The four forms of call on one connection of its own."""

    def __init__(self, address):
        # A channel of its own has no connection in common with others.
        self.channel = grpc.insecure_channel(address, [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def start(self, form, messages=(b"one",), do=None, timeout=PATIENCE_SECONDS, metadata=METADATA):
        """The call, and an iterator over its answers."""
        path = f"/test.Calls/{form}"
        metadata = [*metadata, *([("do", do)] if do else [])]
        options = {"timeout": timeout, "metadata": metadata}
        match form:
            case "unary" | "counts":
                call = self.channel.unary_unary(path).future(messages[0], **options)
                return call, (call.result() for _ in range(1))
            case "collect":
                call = self.channel.stream_unary(path).future(iter(messages), **options)
                return call, (call.result() for _ in range(1))
            case "count":
                call = self.channel.unary_stream(path)(messages[0], **options)
            case "converse":
                call = self.channel.stream_stream(path)(iter(messages), **options)
        return call, call

    def call(self, form, *arguments, **options):
        """What a call came to: its answers, its status and what its server said about it."""
        call, answers = self.start(form, *arguments, **options)
        got = []
        with contextlib.suppress(grpc.RpcError):
            got.extend(answers)
        own = lambda metadata: sorted(pair for pair in metadata if pair[0].startswith("own-"))
        return got, call.code(), call.details(), own(call.initial_metadata()), own(call.trailing_metadata())

    def code(self, *arguments, **options):
        return self.call(*arguments, **options)[1]


def counts(server):
    """How many calls a server got, has open, and saw cancelled."""
    with Client(server.address) as client:
        return json.loads(client.call("counts")[0][0])


@pytest.fixture(scope="module")
def blue():
    with Script("calls.py") as server:
        yield server


@pytest.fixture(scope="module")
def green():
    with Script("calls.py") as server:
        yield server


@pytest.fixture(scope="module")
def proxy(blue, tmp_path_factory):
    with Snapback(tmp_path_factory.mktemp("grpc"), [{"name": "calls", "blue": fleet(blue.address)}]) as proxy:
        yield proxy


def converse(address):
    """Name and result of calls of every form, those that fail among them."""
    with Client(address) as client:
        messages = [b"", b"one", b"two" * 1000]
        results = {form: client.call(form, messages) for form in FORMS}
        results |= {f"{form} without messages": client.call(form, []) for form in ("collect", "converse")}
        results |= {f"{form} after:8": client.call(form, messages, "after:8") for form in FORMS}
        results |= {f"unary status:{code}": client.call("unary", do=f"status:{code}") for code in range(1, 17)}
        results |= {f"{form} late:5": client.call(form, do="late:5") for form in FORMS}
        results["no such method"] = client.channel.unary_unary("/test.Calls/none").future(b"").code()
        return results


@pytest.mark.parametrize("share", ["0%", "50%", "100%"])
def test_every_form_of_call_comes_to_the_same_at_a_split(blue, green, share, tmp_path):
    direct = converse(blue.address)
    assert direct["count"][0] == [b""] * 3 and direct["collect"][0] == [b"one" + b"two" * 1000]
    assert direct["converse after:8"][:3] == ([b""], grpc.StatusCode.RESOURCE_EXHAUSTED, "as told")
    # Statuses must come from green itself, not from blue in its stead.
    endpoint = {"name": "calls", "blue": fleet(blue.address), "rescue": {"on": "never"}}
    with Snapback(tmp_path, [endpoint]) as proxy, proxy.split("calls", fleet(green.address, "green"), share):
        for _ in range(2):
            assert converse(proxy.address) == direct


def test_metadata_passes_both_ways_with_bytes_in_it(proxy):
    with Client(proxy.address) as client:
        _, code, _, head, trailers = client.call("unary")
    assert code is grpc.StatusCode.OK
    assert ("own-bytes-bin", bytes(range(256))) in head and ("own-end-bytes-bin", bytes(range(256))) in trailers
    assert [value for key, value in trailers if key == "own-end-word"] == ["again", "ein Wort, with spaces"]


def test_an_answer_is_judged_by_its_grpc_status(proxy):
    with Client(proxy.address) as client, proxy.counted("calls") as counted:
        for code in [0, 3, 5, 12, 8, 14, 2, 13]:
            client.call("unary", do=f"late:{code}" if code else "echo")
    failures = {"failed": 4, "overload": 2, "server_error": 2}
    assert counted == {"requests": 8, "succeeded": 1, "client_errors": 3} | failures
    metrics = ask("GET", proxy.admin + "/metrics")[2].decode()
    shown = [line for line in metrics.splitlines() if line.startswith("snapback_grpc_responses_total{") and '"NOT_FOUND"' in line]
    assert shown == ['snapback_grpc_responses_total{endpoint="calls",fleet="blue",grpc_status="NOT_FOUND"} 1']


def test_large_messages_pass_both_ways(proxy):
    large = os.urandom(64 << 20)
    with Client(proxy.address) as client:
        assert client.call("unary", [large])[0] == [large]
        parts = [large[start : start + (8 << 20)] for start in range(0, len(large), 8 << 20)]
        assert client.call("converse", parts)[0] == parts


def test_many_calls_at_once_get_each_their_own_answer(proxy, green):
    clients = [Client(proxy.address) for _ in range(8)]

    def one(number):
        form, messages = FORMS[number % 4], [f"{number}.{part}".encode() for part in range(3)]
        answers, code, *_ = clients[number % 8].call(form, messages)
        expected = {"unary": messages[:1], "collect": [b"".join(messages)], "count": messages[:1] * 3, "converse": messages}
        return code is grpc.StatusCode.OK and answers == expected[form]

    with proxy.split("calls", fleet(green.address, "green"), "50%"), concurrent.futures.ThreadPoolExecutor(64) as pool:
        assert all(pool.map(one, range(800)))
    for client in clients:
        client.channel.close()


@pytest.mark.parametrize(("form", "do"), [*((form, "hang") for form in FORMS), ("count", "hang-after"), ("converse", "hang-after")])
def test_a_call_that_its_fleet_lets_run_out_of_time_is_the_fleets_failure(proxy, blue, form, do):
    before = counts(blue)
    with Client(proxy.address) as client, proxy.counted("calls") as counted:
        messages = [b"one"] if do == "hang" else [b"one", b"two"]
        got, code, *_ = client.call(form, messages, do, timeout=0.3)
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert counted == {"requests": 1, "failed": 1, "deadline_exceeded": 1}
    wait_for("the server is told", lambda: counts(blue)["cancelled"] > before["cancelled"])


def test_the_server_is_told_the_callers_deadline(proxy):
    with Client(proxy.address) as client:
        call, answers = client.start("unary", timeout=30)
        list(answers)
        left = int(dict(call.trailing_metadata())["left-ms"])
        assert 0 < left <= 30_500, "gRPC's C core rounds a timeout up by up to a hundredth"
        call, answers = client.start("unary", timeout=None)
        list(answers)
        assert dict(call.trailing_metadata())["left-ms"] == "none"


@pytest.mark.parametrize("form", FORMS)
def test_a_call_that_is_cancelled_ends_at_its_server_and_counts_for_nobody(proxy, blue, form):
    before = counts(blue)
    with Client(proxy.address) as client, proxy.counted("calls") as counted:
        call, _ = client.start(form, do="hang")
        wait_for("the call is there", lambda: counts(blue)["begun"] > before["begun"])
        call.cancel()
        wait_for("the server is told", lambda: counts(blue)["cancelled"] > before["cancelled"])
    assert counted == {"requests": 1, "client_gone": 1}


@pytest.fixture
def failing(tmp_path, blue):
    """A proxy whose green is a server with this fault."""

    @contextlib.contextmanager
    def start(fault, share="50%", **rescue):
        endpoint = {"name": "calls", "blue": fleet(blue.address), "rescue": rescue}
        with Script("calls.py", fault) as server, Snapback(tmp_path, [endpoint]) as proxy:
            with proxy.split("calls", fleet(server.address, "green"), share), Client(proxy.address) as client:
                yield proxy, client

    return start


@pytest.mark.parametrize(
    ("fault", "until"),
    [("status:14", "head"), ("status:13", "head"), ("late:14", "first_token"), ("late:2", "first_token"), ("abort", "head")],
)
@pytest.mark.parametrize("form", FORMS)
def test_what_green_fails_before_its_first_message_costs_no_call_anything(failing, fault, until, form):
    with failing(fault, until=until) as (proxy, client), proxy.counted("calls", "green") as counted:
        results = [client.call(form, [b"one", b"two"]) for _ in range(CALLS)]
        assert results == [results[0]] * CALLS and results[0][1] is grpc.StatusCode.OK
    assert counted["requests"] == counted["failed"] == counted["rescued"] > 0


def test_only_the_statuses_that_the_owner_names_are_rescued(failing):
    with failing("status:5", grpc_statuses=["NOT_FOUND", 14]) as (proxy, client), proxy.counted("calls", "green") as counted:
        assert {client.code("unary") for _ in range(CALLS)} == {grpc.StatusCode.OK}
    assert counted["requests"] == counted["failed"] == counted["rescued"], "what the owner names is a failure of green"


@pytest.mark.parametrize("rescue", [{}, {"grpc_statuses": []}, {"on": "never"}])
def test_what_blames_the_client_and_what_the_owner_leaves_out_is_not_rescued(failing, rescue):
    fault, code = ("status:14", grpc.StatusCode.UNAVAILABLE) if rescue else ("status:3", grpc.StatusCode.INVALID_ARGUMENT)
    with failing(fault, **rescue) as (proxy, client), proxy.counted("calls", "green") as counted:
        codes = [client.code("unary") for _ in range(CALLS)]
    assert codes.count(code) == counted["requests"] == CALLS - codes.count(grpc.StatusCode.OK) > 0
    assert "rescued" not in counted and ("failed" in counted) == bool(rescue)


@pytest.mark.parametrize("form", ["count", "converse"])
def test_a_stream_that_fails_after_its_first_message_reaches_the_client_with_its_status(failing, form):
    with failing("after:14", "100%", until="first_token") as (proxy, client), proxy.counted("calls", "green") as counted:
        got, code, details, *_ = client.call(form, [b"one", b"two"])
    assert (got, code, details) == ([b"one"], grpc.StatusCode.UNAVAILABLE, "as told")
    assert counted == {"requests": 1, "failed": 1, "overload": 1}


@pytest.mark.parametrize("form", ["count", "converse"])
def test_a_stream_whose_server_dies_ends_with_a_status_and_counts_against_it(tmp_path, blue, form):
    with Script("calls.py", "hang-after") as green, Snapback(tmp_path, [{"name": "calls", "blue": fleet(blue.address)}]) as proxy:
        with proxy.split("calls", fleet(green.address, "green"), "100%"), Client(proxy.address) as client:
            with proxy.counted("calls", "green") as counted:
                call, answers = client.start(form, [b"one", b"two"])
                assert next(iter(answers)) == b"one"
                green.stop(9)
                with pytest.raises(grpc.RpcError):
                    next(iter(answers))
    assert call.code() is not grpc.StatusCode.OK
    assert counted == {"requests": 1, "failed": 1, "truncated": 1}


def test_a_green_that_hangs_is_snapped_back_by_its_callers_deadlines(tmp_path, blue):
    plan = {"guard": [{"metric": "error_rate", "below": "5%"}]}
    with Script("calls.py", "hang") as green, Snapback(tmp_path, [{"name": "calls", "blue": fleet(blue.address)}]) as proxy:
        strategy = {"type": "canary", "share": "50%", "bake": "1h", "final_bake": "1m"}
        shift = proxy.start_shift("calls", fleet(green.address, "green"), strategy, **plan)
        proxy.wait_for_shift(shift, state="baking")
        clients = [Client(proxy.address) for _ in range(8)]
        codes = set()
        with concurrent.futures.ThreadPoolExecutor(32) as pool:

            def rolled_back():
                codes.update(pool.map(lambda number: clients[number % 8].code("unary", timeout=0.2), range(64)))
                return proxy.shift(shift)["state"] in ("rolling_back", "rolled_back")

            wait_for("the shift is rolled back", rolled_back)
        for client in clients:
            client.channel.close()
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED}


def test_a_shift_to_a_green_that_fails_is_rolled_back_without_one_failed_call(tmp_path, blue):
    plan = {"guard": [{"metric": "error_rate", "below": "5%"}]}
    with Script("calls.py", "status:14") as green, Snapback(tmp_path, [{"name": "calls", "blue": fleet(blue.address)}]) as proxy:
        strategy = {"type": "canary", "share": "20%", "bake": "1h", "final_bake": "1m"}
        with Client(proxy.address) as client:
            shift = proxy.start_shift("calls", fleet(green.address, "green"), strategy, **plan)
            proxy.wait_for_shift(shift, state="baking")
            codes = set()

            def rolled_back():
                codes.update(client.code("unary") for _ in range(20))
                return proxy.shift(shift)["state"] == "rolled_back"

            wait_for("the shift is rolled back", rolled_back)
    assert codes == {grpc.StatusCode.OK}


def test_a_fleet_without_http2_is_named_as_what_is_wrong(tmp_path, v1):
    blue = {"version": "v1", "instances": [v1.address]}
    with Snapback(tmp_path, [{"name": "chat", "blue": blue}]) as proxy, Client(proxy.address) as client:
        _, code, details, *_ = client.call("unary")
    assert code is grpc.StatusCode.UNIMPLEMENTED and "HTTP/2" in details


def test_a_green_whose_streams_begin_late_is_snapped_back_for_that_and_unary_calls_do_not_count(tmp_path, blue):
    endpoint = {"name": "calls", "blue": fleet(blue.address), "signals": "grpc"}
    guard = {"metric": "first_token", "quantile": "p90", "below": "100ms"}
    strategy = {"type": "canary", "share": "50%", "bake": "1h", "final_bake": "1m"}
    with Script("calls.py", "wait:150") as green, Snapback(tmp_path, [endpoint]) as proxy, Client(proxy.address) as client:
        shift = proxy.start_shift("calls", fleet(green.address, "green"), strategy, guard=[guard])
        proxy.wait_for_shift(shift, state="baking")
        for _ in range(20):
            client.call("unary")
        assert proxy.shift(shift)["state"] == "baking", "a single message is no token"

        def rolled_back():
            assert client.call("count")[0] == [b"one"] * 3
            return proxy.shift(shift)["state"] == "rolled_back"

        wait_for("the shift is rolled back", rolled_back)
        assert proxy.shift(shift)["cause"]["alarm"] == "first_token_p90"


def test_alarms_on_tokens_are_refused_where_the_messages_of_streams_are_not_read(tmp_path, blue):
    plan = {"guard": [{"metric": "first_token", "quantile": "p90", "below": "100ms"}]}
    plan |= {"green": fleet("127.0.0.1:1", "green"), "strategy": {"type": "canary", "share": "50%", "bake": "1h", "final_bake": "1m"}}
    with Snapback(tmp_path, [{"name": "calls", "blue": fleet(blue.address)}]) as proxy, Client(proxy.address) as client:
        with proxy.counted("calls"):
            client.call("count")
        status, problem = proxy.api("POST", "/v1/endpoints/calls/shifts", plan)
    assert status == 422 and 'give the endpoint signals = "grpc"' in problem["problems"][0]["message"], problem
