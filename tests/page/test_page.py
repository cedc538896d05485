"""Tries the admin page in a headless Chromium: `tests/page/run`.

Without OCELLI_ADMIN, which names a running server's admin API, a server is started. OCELLI_MODEL is a model
with two or more versions loaded (default: the first such); its traffic is changed. OCELLI_CHROMIUM is the
browser (default: the `chromium` of the PATH).
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("OCELLI_BIN", ROOT / "target/release/ocelli")
CHROMIUM = os.environ.get("OCELLI_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
EVIL = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'


@pytest.fixture(scope="session")
def base():
    if os.environ.get("OCELLI_ADMIN"):
        yield os.environ["OCELLI_ADMIN"].rstrip("/")
        return
    with tempfile.TemporaryDirectory() as models:
        put(models, "digits", 1, "fashion_teacher")
        put(models, "digits", 2, "fashion_student_plain")
        put(models, "other", 1, "fashion_mid_plain")
        (Path(models) / "digits/model.toml").write_text("[versions]\nall = true\n")
        command = [BINARY, "serve", "--models", models, "--log-format", "json", "--settle-ms", "0"]
        for door in ["rest", "grpc", "admin"]:
            command += [f"--{door}-addr", "127.0.0.1:0"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            for line in process.stderr:
                told = json.loads(line)
                if told["message"] == "serving":
                    url = f"http://{told['admin']}"
                if told["message"] == "ready":
                    break
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield url
        finally:
            process.kill()
            process.wait()


def put(models, name, version, file):
    """Puts a model file into a repository."""
    directory = Path(models) / name / str(version)
    directory.mkdir(parents=True)
    shutil.copy(ROOT / f"tests/data/fashion/{file}.onnx", directory / "model.onnx")


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as p:
        running = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


class Server:
    """The admin API, as another operator would use it."""

    def __init__(self, base):
        self.base = base
        self.name = os.environ.get("OCELLI_MODEL") or self.first_with_two()
        self.url = f"{base}/admin/v1/models/{quote(self.name, safe='')}"

    def first_with_two(self):
        for model in self.ask("GET", f"{self.base}/admin/v1/models")["models"]:
            if len(loaded(model)) >= 2:
                return model["name"]
        pytest.skip("no model has two versions loaded")

    def ask(self, method, url, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def traffic(self):
        return self.ask("GET", self.url + "/traffic")

    def put(self, **body):
        return self.ask("PUT", self.url + "/traffic", body)["current"]

    def versions(self):
        return loaded(self.ask("GET", self.url))

    def weights(self):
        return {a["version"]: a["weight"] for a in self.traffic()["split"]}


def loaded(model):
    return sorted(v["version"] for v in model["versions"] if v["state"] == "AVAILABLE")


@pytest.fixture
def server(base):
    """A server whose model has 90 % on its first loaded version, and 10 % on the second."""
    server = Server(base)
    try:
        server.ask("POST", server.url + "/rollout/abort", {"author": "test"})
    except urllib.error.HTTPError:
        pass
    first, second = server.versions()[:2]
    server.put(weights={first: 100}, sticky=None, shadow=None, match=None, author="test", reason="all on one")
    server.put(weights={first: 90, second: 10}, author="test", reason="a known start")
    server.first, server.second = first, second
    return server


@pytest.fixture
def page(browser, server):
    """The page, open; the test fails on what it says to the console or asks of other origins."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.problems, page.expected = [], None
    page.on("pageerror", lambda e: page.problems.append(f"uncaught: {e}"))
    page.on("console", lambda m: note(page, m))
    page.on("request", lambda r: foreign(page, r, server.base))
    page.open = lambda: opened(page, server)
    yield page
    problems = list(page.problems)
    context.close()
    assert problems == []


def note(page, message):
    if message.type not in ("error", "warning") or "favicon" in str(message.location):
        return
    if page.expected and re.search(page.expected, message.text):
        return
    page.problems.append(f"console: {message.text}")


def foreign(page, request, base):
    if urlsplit(request.url).netloc != urlsplit(base).netloc:
        page.problems.append(f"a request left the origin: {request.url}")


def opened(page, server):
    page.goto(f"{server.base}/#/{quote(server.name, safe='')}")
    expect(page.locator("#name")).to_have_text(server.name)
    expect(page.locator("#sliders .slider").first).to_be_visible()
    return page


def slider(page, version):
    return page.locator(f"#share-{version}")


def exact(page, version):
    return page.locator(f".slider[data-version='{version}'] input[type=number]")


def shown(page):
    """The weights that the sliders show."""
    return {int(r.get_attribute("data-version")): int(r.locator("input[type=range]").input_value()) for r in page.locator(".slider").all()}


def type_share(page, version, percent):
    exact(page, version).fill(str(percent))
    exact(page, version).press("Tab")


def sent(page, method, ending, doing):
    with page.expect_request(lambda r: r.method == method and r.url.endswith(ending)) as caught:
        doing()
    caught.value.response()
    return caught.value.post_data_json


def told(page, where, text):
    """The text is said aloud and to be seen."""
    expect(page.locator(where)).to_contain_text(text)
    expect(page.locator("#notice")).to_have_css("opacity", "1")
    expect(page.locator(where)).to_be_in_viewport()


def test_a_quiet_page_shows_the_model(page, server):
    page.open()
    expect(page.locator("#models a[aria-current=page]")).to_contain_text(server.name)
    expect(page.locator("#now")).to_contain_text("a known start")
    expect(page.locator("#history li").first).to_contain_text("in force")
    page.wait_for_timeout(4500)  # two more polls
    assert shown(page)[server.first] == 9000 and shown(page)[server.second] == 1000


def test_there_is_nothing_inline_and_no_markup_from_text(base):
    with urllib.request.urlopen(base + "/") as answer:
        html = answer.read().decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?://", html)
    with urllib.request.urlopen(base + "/app.js") as answer:
        script = answer.read().decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script)


def test_sliders_keep_the_sum(page, server):
    page.open()
    for version, key in [(server.second, "ArrowRight")] * 7 + [(server.first, "Shift+ArrowLeft")] * 5 + [(server.second, "End"), (server.second, "Home")]:
        slider(page, version).press(key)
        assert sum(shown(page).values()) == 10000
    type_share(page, server.second, 33.33)
    assert shown(page)[server.second] == 3333
    assert sum(shown(page).values()) == 10000
    expect(page.locator("#sum")).to_have_text(re.compile(r"Together 100\.00.%"))
    type_share(page, server.second, 250)
    assert shown(page)[server.second] == 10000
    assert sum(shown(page).values()) == 10000


def test_the_rest_is_taken_proportionally(page, server):
    page.open()
    for anchor, version, wanted, result in [
        ({1: 6000, 2: 3000, 3: 1000}, 3, 4000, {1: 4000, 2: 2000, 3: 4000}),
        ({1: 3333, 2: 3333, 3: 3334}, 1, 0, {1: 0, 2: 4999, 3: 5001}),
        ({1: 0, 2: 0, 3: 10000}, 3, 9999, {1: 1, 2: 0, 3: 9999}),
        ({4: 2000}, 4, 10, {4: 10000}),
    ]:
        got = page.evaluate("([a, v, w]) => redistribute(a, v, w)", [{str(k): w for k, w in anchor.items()}, version, wanted])
        assert {int(k): w for k, w in got.items()} == result
    sums = page.evaluate("""() => { const out = new Set(); let w = {1: 1000, 2: 2000, 3: 3000, 4: 4000};
        for (let i = 0; i < 500; i++) { w = redistribute(w, 1 + i % 4, (i * 7919) % 10001); out.add(Object.values(w).reduce((a, b) => a + b)); }
        return [...out]; }""")
    assert sums == [10000]


def test_dragging_back_restores_the_others(page, server):
    page.open()
    before = shown(page)
    box = slider(page, server.second).bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8 + (box["width"] - 16) * 0.1, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"], y, steps=4)
    assert shown(page)[server.second] == 10000
    page.mouse.move(box["x"] + box["width"] / 2, y, steps=4)
    page.mouse.up()
    now = shown(page)
    assert sum(now.values()) == 10000 and 4000 < now[server.second] < 6000
    assert all(now[v] == 0 for v, w in before.items() if w == 0), "who had nothing got nothing"


def test_publish_sends_the_split_the_reason_and_the_revision(page, server):
    revision = server.traffic()["current"]["revision"]
    page.open()
    expect(page.locator("#publish")).to_be_disabled()
    page.get_by_label("Your name").fill("ada")
    type_share(page, server.second, 25)
    page.locator("#reason").fill("more for the canary")
    body = sent(page, "PUT", "/traffic", lambda: page.get_by_role("button", name="Publish").click())
    assert body == {
        "arms": [{"version": server.first, "weight": 7500}, {"version": server.second, "weight": 2500}],
        "author": "ada", "reason": "more for the canary", "if_revision": revision,
    }
    told(page, "#said", "Published")
    expect(page.locator("#now")).to_contain_text("more for the canary")
    expect(page.locator("#reason")).to_have_value("")
    assert server.weights() == {server.first: 7500, server.second: 2500}


def test_publish_by_keyboard_alone(page, server):
    page.open()
    slider(page, server.second).focus()
    page.keyboard.press("ArrowRight")
    page.locator("#reason").focus()
    page.keyboard.type("one more")
    body = sent(page, "PUT", "/traffic", lambda: page.keyboard.press("Enter"))
    assert body["arms"] == [{"version": server.first, "weight": 8900}, {"version": server.second, "weight": 1100}]
    assert "author" not in body


def test_enter_in_a_share_sets_it_and_publishes_nothing(page, server):
    page.open()
    exact(page, server.second).fill("15")
    exact(page, server.second).press("Enter")
    expect(slider(page, server.second)).to_have_value("1500")
    page.wait_for_timeout(500)
    assert server.weights()[server.second] == 1000
    expect(page.locator("#publish")).to_be_enabled()


def test_following_the_latest(page, server):
    page.open()
    page.get_by_label("Follow the latest version").check()
    expect(slider(page, server.first)).to_be_disabled()
    body = sent(page, "PUT", "/traffic", lambda: page.locator("#publish").click())
    assert body["latest"] is True and "arms" not in body
    expect(page.locator("#said")).to_contain_text("Published")
    assert server.traffic()["latest"] is True


def test_sticky_shadow_and_match_are_sent_when_touched(page, server):
    page.open()
    page.locator("summary", has_text="Sticky, shadow, match").click()
    page.locator("#sticky-by").select_option("header")
    page.locator("#sticky-name").fill("x-user")
    page.get_by_role("button", name="Add a shadow").click()
    row = page.locator("#shadows .line")
    row.locator("select").select_option(str(server.second))
    row.get_by_label("Percent").fill("12.5")
    page.get_by_role("button", name="Add a match").click()
    row = page.locator("#matches .line")
    row.get_by_label("Name").fill("x-team")
    row.get_by_label("Equals").fill("blue")
    row.get_by_label("Version").select_option(str(server.second))
    page.wait_for_timeout(2500)  # a poll must not take it away
    body = sent(page, "PUT", "/traffic", lambda: page.locator("#publish").click())
    assert body["sticky"] == {"by": "header", "name": "x-user"}
    assert body["shadow"] == [{"version": server.second, "percent": 12.5}]
    assert body["match"] == [{"header": "x-team", "equals": "blue", "version": server.second}]
    expect(page.locator("#said")).to_contain_text("Published")
    expect(page.locator("#extras-told")).to_have_text("sticky by header, 1 shadow, 1 match")
    page.get_by_role("button", name="Remove this shadow").click()
    page.get_by_role("button", name="Remove this match").click()
    page.locator("#sticky-by").select_option("")
    body = sent(page, "PUT", "/traffic", lambda: page.locator("#publish").click())
    assert body["sticky"] is None and body["shadow"] is None and body["match"] is None


def test_roll_back_takes_one_click(page, server):
    goal = server.traffic()["rollback"][0]["revision"]
    page.open()
    button = page.locator("#rollback")
    expect(button).to_have_text(f"Roll back to revision {goal}")
    expect(page.locator("#rollback-how")).to_contain_text("Instant")
    body = sent(page, "POST", "/rollback", button.click)
    assert body == {"to": goal}
    told(page, "#said", f"the split of revision {goal} is in force")
    assert server.weights() == {server.first: 10000}
    expect(page.locator("#history li").first).to_contain_text(f"brings back revision {goal}")


def test_a_double_click_rolls_back_once(page, server):
    page.open()
    asked = []
    page.on("request", lambda r: r.url.endswith("/rollback") and asked.append(r.post_data_json))
    page.locator("#rollback").dblclick(delay=60)
    expect(page.locator("#said")).to_contain_text("Rolled back")
    page.wait_for_timeout(300)
    assert len(asked) == 1


def test_any_revision_of_the_history_can_be_brought_back(page, server):
    goal = server.traffic()["rollback"][-1]["revision"]
    page.open()
    button = page.get_by_role("button", name=f"Go back to revision {goal}", exact=True)
    assert sent(page, "POST", "/rollback", button.click)["to"] == goal
    expect(page.locator("#said")).to_contain_text("Rolled back")


def test_who_was_slower_is_told_and_loses_nothing(page, server):
    page.expected = "409"
    page.open()
    type_share(page, server.second, 40)
    page.locator("#reason").fill("my plan")
    server.put(weights={server.first: 50, server.second: 50}, author="grace", reason="was here first")
    page.locator("#publish").click()
    told(page, "#alarm", "someone else was faster")
    expect(page.locator("#now")).to_contain_text("grace")
    expect(slider(page, server.second)).to_have_value("5000")
    expect(page.locator("#reason")).to_have_value("my plan")
    assert server.weights()[server.second] == 5000
    page.get_by_role("button", name="Bring back my edit").click()
    expect(slider(page, server.second)).to_have_value("4000")
    page.locator("#publish").click()
    expect(page.locator("#said")).to_contain_text("Published")
    assert server.weights()[server.second] == 4000


def test_polls_leave_alone_what_is_edited(page, server):
    page.open()
    type_share(page, server.second, 77.77)
    page.locator("#reason").fill("half a sent")
    exact(page, server.first).click()
    page.keyboard.press("Control+a")
    page.keyboard.type("12.")
    server.put(weights={server.first: 60, server.second: 40}, author="grace", reason="meanwhile")
    expect(page.locator("#stale")).to_be_visible()
    assert exact(page, server.first).evaluate("e => e === document.activeElement")
    expect(slider(page, server.second)).to_have_value("7777")
    expect(page.locator("#reason")).to_have_value("half a sent")
    page.get_by_role("button", name="Discard changes").click()
    expect(slider(page, server.second)).to_have_value("4000")


def test_an_edit_made_while_publishing_is_kept(page, server):
    def slowly(route):
        if route.request.method == "PUT":
            type_share(page, server.second, 66)
            page.locator("#reason").fill("next")
        route.continue_()

    page.open()
    page.route("**/traffic", slowly)
    type_share(page, server.second, 55)
    page.locator("#reason").fill("first")
    page.locator("#publish").click()
    expect(page.locator("#said")).to_contain_text("Published")
    expect(slider(page, server.second)).to_have_value("6600")
    expect(page.locator("#reason")).to_have_value("next")
    expect(page.locator("#publish")).to_be_enabled()
    assert server.weights()[server.second] == 5500


def test_an_untouched_editor_follows_the_server(page, server):
    page.open()
    server.put(weights={server.first: 20, server.second: 80}, author="grace", reason="elsewhere")
    expect(slider(page, server.second)).to_have_value("8000")
    expect(page.locator("#publish")).to_be_disabled()


def test_hostile_text_is_harmless(page, server):
    def poison(route):
        answer = route.fetch()
        data = answer.json()
        for event in data.get("events", []):
            event["message"] = event["kind"] = EVIL
        for model in data.get("models", []):
            model["problem"] = EVIL
            model["labels"] = {EVIL: model["versions"][0]["version"]} if model["versions"] else {}
            for version in model["versions"]:
                version.update(error=EVIL, digest=EVIL, engine=EVIL)
        for model in data.get("models", [])[-1:]:
            model["name"] = EVIL
        for document in data.get("history", []):
            document.update(author=EVIL, reason=EVIL)
        if data.get("current"):
            data["current"].update(author=EVIL, reason=EVIL)
        if "verdict" in data:
            data.update(verdict=EVIL, metric=EVIL)
        route.fulfill(response=answer, json=data)

    page.expected = "404"  # the server knows no model of that name
    page.route("**/admin/v1/**", lambda route: poison(route) if route.request.method == "GET" and "/rollout" not in route.request.url
               and quote(EVIL, safe="!~*'()") not in route.request.url else route.continue_())
    page.open()
    expect(page.locator("#models a").last).to_contain_text(EVIL)
    expect(page.locator("#now")).to_contain_text(EVIL)
    page.locator("#models a").last.click()
    expect(page.locator("#name")).to_have_text(EVIL)
    page.wait_for_timeout(2500)
    assert page.evaluate("window.hit") is None
    assert page.locator("img, #page script").count() == 0


def test_an_unreachable_server_is_told_until_it_is_back(page, server):
    page.expected = "ERR_|Failed to fetch"
    page.open()
    page.route("**/admin/v1/**", lambda route: route.abort("connectionrefused"))
    expect(page.locator("#offline")).to_be_visible()
    expect(page.locator("#offline")).to_contain_text("can't be reached")
    page.locator("#rollback").click()
    told(page, "#alarm", "can't be reached")
    expect(page.locator("#name")).to_have_text(server.name)
    page.unroute("**/admin/v1/**")
    expect(page.locator("#offline")).to_be_hidden()


def test_a_token_is_asked_for_kept_in_the_tab_and_sent(page, server):
    def guard(route):
        if route.request.headers.get("authorization") == "Bearer s3cret":
            return route.continue_()
        return route.fulfill(status=401, json={"error": "a key is needed"})

    page.expected = "401"
    page.route("**/admin/v1/**", guard)
    page.goto(server.base)
    expect(page.locator("#lock")).to_be_visible()
    expect(page.locator("#page")).to_be_hidden()
    for word, locked in [("wrong", True), ("s3cret", False)]:
        page.get_by_label("Token").fill(word)
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#lock-why")).to_contain_text("was not accepted" if locked else "")
    expect(page.locator("#page")).to_be_visible()
    expect(page.locator("#lock")).to_be_hidden()
    assert page.evaluate("[sessionStorage.getItem('token'), localStorage.getItem('token')]") == ["s3cret", None]
    assert "s3cret" not in page.url
    page.get_by_role("button", name="Forget the token").click()
    expect(page.locator("#lock")).to_be_visible()


def test_a_rollout_is_started_and_steered(page, server):
    page.open()
    page.locator("summary", has_text="Start a rollout").click()
    page.locator("#start-to").select_option(str(server.second))
    page.locator("#start-from").select_option(str(server.first))
    page.get_by_label("Steps, in percent").fill("2, 10 50%, 100")
    page.get_by_label("Time in a step").fill("10m")
    page.get_by_label("Gates, one a line").fill("error_rate<=5%\n\n p99<=3x ")
    page.wait_for_timeout(2500)
    body = sent(page, "POST", "/rollout", lambda: page.get_by_role("button", name="Start the rollout").click())
    assert body == {"to": server.second, "from": server.first, "steps": [2, 10, 50, 100], "interval": "10m", "timeout": "30m",
                    "min_samples": 100, "gates": ["error_rate<=5%", "p99<=3x"]}
    expect(page.locator(".ladder [aria-current=step]")).to_have_text("2 %")
    expect(page.locator(".gates li")).to_have_count(2)
    expect(page.locator("#driven")).to_contain_text("rollout")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#rollout .chip").first).to_have_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#rollout .chip").first).to_have_text("running")
    page.get_by_role("button", name="Abort").click()
    expect(page.locator("#rollout .chip").first).to_have_text(re.compile("aborted|rolled back"))
    expect(page.locator("#steer")).to_be_hidden()
    expect(page.locator("#start-box")).to_be_visible()


def test_a_refusal_is_told_in_the_servers_words(page, server):
    page.expected = "422"
    page.route("**/traffic", lambda route: route.fulfill(status=422, json={"error": "not on a Friday"})
               if route.request.method == "PUT" else route.continue_())
    page.open()
    type_share(page, server.second, 50)
    page.locator("#publish").click()
    told(page, "#alarm", "not on a Friday")
    expect(slider(page, server.second)).to_have_value("5000")


def test_an_edit_survives_a_look_at_another_model(page, server):
    page.open()
    if page.locator("#models a").count() < 2:
        pytest.skip("one model only")
    type_share(page, server.second, 61)
    page.locator("#reason").fill("to be continued")
    page.locator("#models a:not([aria-current])").first.click()
    expect(page.locator("#name")).not_to_have_text(server.name)
    expect(page.locator("#reason")).to_have_value("")
    page.locator("#models a", has_text=server.name).first.click()
    expect(slider(page, server.second)).to_have_value("6100")
    expect(page.locator("#reason")).to_have_value("to be continued")


def test_a_hidden_page_does_not_poll(page, server):
    page.open()
    page.evaluate("""() => { Object.defineProperty(document, 'hidden', { get: () => window.away, configurable: true }); window.away = true; }""")
    page.wait_for_timeout(2500)
    asked = []
    page.on("request", lambda r: asked.append(r.url))
    page.wait_for_timeout(4500)
    assert asked == []
    page.evaluate("() => { window.away = false; document.dispatchEvent(new Event('visibilitychange')); }")
    page.wait_for_timeout(1000)
    assert asked


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough(page, server, scheme):
    page.emulate_media(color_scheme=scheme)
    page.open()
    poor = page.evaluate(CONTRAST)
    assert poor == []


CONTRAST = """() => {
  const rgba = (c) => (c.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((x) => x / 255).map((x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4))
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let n = node; n; n = n.parentElement) {
      const c = rgba(getComputedStyle(n).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll('body *')) {
    const text = [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
    if (!text || !node.checkVisibility() || node.matches(':disabled, :disabled *')) continue;
    const [a, b] = [light(rgba(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${node.tagName}.${node.className} ${node.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("width", [400, 700, 1000, 1280])
def test_nothing_sticks_out(page, server, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.open()
    page.evaluate("() => document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = page.evaluate("""() => [...document.querySelectorAll('input, select, textarea')]
        .filter((e) => !e.labels.length && !e.getAttribute('aria-label')).map((e) => e.outerHTML)""")
    assert unnamed == []
