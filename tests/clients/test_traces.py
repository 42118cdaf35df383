"""Traces: what a collector of OpenTelemetry gets, held against the protocol's own definition, and what model servers are told."""

import base64
import http.server
import json
import threading

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from workbench import Snapback, ask, wait_for

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Server:
    """An HTTP server of this process; `answer(headers, body)` says the status."""

    def __init__(self, answer):
        self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler):
                body = handler.rfile.read(int(handler.headers["content-length"]))
                self.seen.append((handler.path, handler.headers, body))
                handler.send_response(answer())
                handler.send_header("content-length", "0")
                handler.end_headers()

            do_GET = lambda handler: handler.send_error(404)
            log_message = lambda *_: None

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = "{}:{}".format(*self.server.server_address)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def bytes_of_ids(value):
    """OTLP/JSON has ids in hexadecimal digits, where the general mapping of protocol buffers has base64."""
    if isinstance(value, list):
        return [bytes_of_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    ids = {"traceId", "spanId", "parentSpanId"}
    return {key: base64.b64encode(bytes.fromhex(item)).decode() if key in ids else bytes_of_ids(item) for key, item in value.items()}


def spans(collector):
    """Every span that came, decoded by the protocol's definition, which refuses a key that it does not have."""
    found = []
    for path, headers, body in list(collector.seen):
        assert (path, headers["content-type"]) == ("/v1/traces", "application/json")
        request = json_format.ParseDict(bytes_of_ids(json.loads(body)), ExportTraceServiceRequest())
        for resource in request.resource_spans:
            names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            assert names["service.name"] == "snapback" and names["service.version"]
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


def attributes(span):
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


@pytest.fixture
def servers():
    with Server(lambda: 200) as collector, Server(lambda: 200) as blue, Server(lambda: 500) as green:
        yield collector, blue, green


def proxy_of(folder, collector, blue, **traces):
    endpoint = {"name": "chat", "blue": {"version": "v1", "instances": [blue.address]}}
    sections = {"traces": {"url": f"http://{collector.address}/v1/traces", "sample": "100%"} | traces}
    return Snapback(folder, [endpoint], sections=sections)


def call(proxy, **headers):
    return ask("POST", f"http://{proxy.address}/v1/completions?key=secret", {"prompt": "x"}, headers)[0]


def test_a_rescued_request_is_a_span_with_one_for_each_try(tmp_path, servers):
    collector, blue, green = servers
    with proxy_of(tmp_path, collector, blue) as proxy:
        strategy = {"type": "all_at_once", "final_bake": "1h"}
        shift = proxy.start_shift("chat", {"version": "v2", "instances": [green.address]}, strategy, max_failures=10_000)
        wait_for("green gets traffic", lambda: call(proxy) and green.seen)
        green.seen.clear()
        assert call(proxy, traceparent=f"00-{TRACE}-{CALLER}-01", tracestate="a=b") == 200
        mine = lambda: [span for span in spans(collector) if span.trace_id.hex() == TRACE]
        wait_for("the trace", lambda: len(mine()) == 3)
        own, first, rescue = mine()
        ask("POST", f"{proxy.admin}/v1/shifts/{shift}/abort", {})
        ended = wait_for("the shift's span", lambda: [span for span in spans(collector) if span.name == "shift chat"])[0]

    assert (own.kind, own.name, own.parent_span_id.hex()) == (Span.SPAN_KIND_SERVER, "POST chat", CALLER)
    told = attributes(own)
    assert told["http.response.status_code"] == 200 and told["url.path"] == "/v1/completions"
    assert told["snapback.rescued"] is True and told["snapback.outcome"] == "failure" and told["error.type"] == "server_error"
    assert (told["snapback.fleet"], told["snapback.version"], told["snapback.shift"]) == ("green", "v2", shift)
    for span, fleet, status, server in [(first, "green", 500, green), (rescue, "blue", 200, blue)]:
        assert (span.kind, span.parent_span_id) == (Span.SPAN_KIND_CLIENT, own.span_id)
        told = attributes(span)
        assert (told["snapback.fleet"], told["http.response.status_code"], told["snapback.instance"]) == (fleet, status, server.address)
        assert own.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= own.end_time_unix_nano
    assert (first.name, first.status.code, rescue.name) == ("try", Status.STATUS_CODE_ERROR, "rescue")
    assert [event.name for event in rescue.events] == ["head"]
    # The model servers are called from the spans of their tries, and what other systems said passes.
    for server, span in [(green, first), (blue, rescue)]:
        [heard] = [headers for _, headers, _ in server.seen if TRACE in (headers["traceparent"] or "")]
        assert heard["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01" and heard["tracestate"] == "a=b"
    assert attributes(ended)["snapback.result"] == "rolled_back" and ended.status.code == Status.STATUS_CODE_ERROR
    assert {"shift.started", "shift.state"} <= {event.name for event in ended.events}


def test_a_caller_that_keeps_no_spans_is_followed_and_what_is_not_kept_passes_untouched(tmp_path, servers):
    collector, blue, _ = servers
    unkept = f"00-{TRACE}-{CALLER}-00"
    with proxy_of(tmp_path, collector, blue) as proxy:
        assert call(proxy, traceparent=unkept) == 200
        assert call(proxy, traceparent="nonsense", tracestate="a=b") == 200
        [fresh] = wait_for("a trace of its own", lambda: [span for span in spans(collector) if span.kind == Span.SPAN_KIND_SERVER])
    (_, untouched, _), (_, restarted, _) = blue.seen
    assert untouched["traceparent"] == unkept
    assert fresh.trace_id.hex() in restarted["traceparent"] and fresh.parent_span_id == b"" and restarted["tracestate"] is None


def test_without_a_collector_named_nothing_is_touched(tmp_path, servers):
    _, blue, _ = servers
    sampled = f"00-{TRACE}-{CALLER}-01"
    endpoint = {"name": "chat", "blue": {"version": "v1", "instances": [blue.address]}}
    with Snapback(tmp_path, [endpoint]) as proxy:
        assert call(proxy, traceparent=sampled) == 200 and call(proxy) == 200
        assert b"snapback_trace_spans_total" not in ask("GET", f"{proxy.admin}/metrics")[2]
    (_, first, _), (_, second, _) = blue.seen
    assert first["traceparent"] == sampled and second["traceparent"] is None


def test_a_collector_that_refuses_or_is_gone_costs_spans_alone(tmp_path):
    def failed(proxy):
        lines = ask("GET", f"{proxy.admin}/metrics")[2].decode().splitlines()
        return [line for line in lines if line.startswith('snapback_trace_spans_total{result="failed"}') and not line.endswith(" 0")]

    with Server(lambda: 200) as blue, Server(lambda: 400) as collector:
        with proxy_of(tmp_path, collector, blue) as proxy:
            assert call(proxy) == 200
            wait_for("a refused batch", lambda: failed(proxy))
            assert len(collector.seen) == 1, "what is refused for good is not tried again"
            collector.__exit__()
            seen = failed(proxy)
            assert [call(proxy) for _ in range(10)] == [200] * 10
            wait_for("a batch that found nobody", lambda: failed(proxy) != seen)
