"""The pages in a browser, as people use them: by keyboard, by hand, in two languages, on two sizes of screen."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from service.reviewed import CaseFilter, CaseState
from tests.browser.bring import Brought
from tests.browser.conftest import Tabs
from tests.browser.world import FASTER, HIGHER, MANY, World

pytestmark = pytest.mark.browser

PATHS = ("/", "/queue", "/works", "/lists", "/events", "/settings")
DRAFTS = "() => Object.keys(sessionStorage).filter(key => /^(draft|sent)/.test(key))"
AXE = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"


def cases_by_name(world: World, *names: str) -> list[str]:
    return [f"/cases/{world.cases[name].id}" for name in names]


def property_of(page: Page, selector: str, name: str) -> Any:
    return page.eval_on_selector(selector, f"one => one.{name}")


# Every page


@pytest.mark.parametrize(
    ("width", "language", "dark"), [(1280, "en-GB", False), (360, "zh-CN", True)], ids=["desktop", "phone"]
)
def test_no_page_has_a_serious_fault(
    tabs: Tabs, world: World, brought: Brought, width: int, language: str, *, dark: bool
) -> None:
    tab = tabs("admin", width=width, height=740, language=language, dark=dark)
    work = f"/works/{world.cases['cropped'].work_id}"
    listed = f"/lists/{world.pages.lists['studio'].id}"
    names = ("cropped", "film", "sound", "text", "hostile", "missing", "sensitive")
    found = []
    for path in (*PATHS, work, listed, *cases_by_name(world, *names), "/nowhere"):
        tab.open(path)
        assert tab.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        tab.page.evaluate(brought.axe.read_text())
        found += [
            (path, fault["id"], [node["html"][:120] for node in fault["nodes"][:3]])
            for fault in tab.page.evaluate(AXE)
            if fault["impact"] in {"serious", "critical"}
        ]
    assert not found


def test_no_text_of_others_runs(tabs: Tabs, world: World) -> None:
    tab = tabs("admin")
    for path in (*cases_by_name(world, "hostile"), "/queue?state=all&q=alert", "/works", "/events"):
        tab.open(path)
    tab.open(cases_by_name(world, "hostile")[0])
    assert "alert(1)" in tab.page.inner_text("h1")
    assert tab.page.evaluate("document.querySelectorAll('a[href^=\"javascript\"]').length") == 0


# Signing in


def test_an_expired_session_keeps_what_was_typed(tabs: Tabs, world: World) -> None:
    case = world.cases["text"]
    tab = tabs("investigator")
    tab.open(f"/cases/{case.id}?in=state%3Dall")
    tab.press("f", "r")
    tab.page.select_option("#reason", "QUOTATION")
    tab.page.fill("#note", "Two lines,\nof a whole book.")
    world.pages.end_sessions("investigator")
    tab.page.keyboard.press("Control+Enter")
    tab.page.wait_for_url("**/sign-in?next=*")
    tab.page.fill("#key", world.pages.keys["investigator"])
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url(f"**/cases/{case.id}?in=*")
    tab.ready()
    assert tab.page.input_value("#note") == "Two lines,\nof a whole book."
    assert tab.page.input_value("#reason") == "QUOTATION"
    assert tab.page.is_checked("[value=fair_use]")
    assert world.pages.case_of_id(case.id).state is CaseState.OPEN
    tab.page.get_by_text("Decide, and stay here").click()
    expect(tab.page.locator(".said")).to_contain_text("Fair use")
    assert tab.page.input_value("#note") == ""
    tab.press("u")
    expect(tab.page.locator(".said")).to_contain_text("undone")
    assert world.pages.case_of_id(case.id).state is CaseState.OPEN


# The queue


def test_the_queue_is_worked_by_keyboard(tabs: Tabs, world: World) -> None:
    tab = tabs("admin")
    page = tab.page
    tab.press("g", "q")
    page.wait_for_url("**/queue")
    tab.ready()
    tab.press("/")
    page.keyboard.type("sheet prints.example")
    page.wait_for_url("**/queue?q=sheet*")
    expect(page.locator("[data-row]")).to_have_count(50)
    page.locator("[data-more]").scroll_into_view_if_needed()
    page.locator("[data-more]").click()
    expect(page.locator("[data-row]")).to_have_count(56)
    tab.press("Escape", "j", "a", "j", "j", "a", "k", "j")
    expect(page.locator("[data-count]")).to_have_text("2 cases")
    tab.press("d")
    page.select_option("#batch-outcome", "licensed")
    page.locator("#batch-note").fill("the printer's own")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Decide 2 cases?")
    prints = CaseFilter(site="prints.example", states=(CaseState.DECIDED,))
    assert not world.pages.cases(prints)
    tab.press("Enter")
    expect(page.locator("h1")).to_have_text("2 cases decided")
    assert len(world.pages.cases(prints)) == 2
    tab.press("u")
    expect(page.locator(".said")).to_contain_text("2 decisions were undone.")
    assert not world.pages.cases(prints)
    page.locator(".save-view summary").click()
    page.fill(".save-view [name=title]", "Prints")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Prints", exact=True).click()
    expect(page.locator("#q")).to_have_value("sheet prints.example")
    page.get_by_role("button", name="Delete the view Prints").click()
    expect(page.get_by_role("link", name="Prints", exact=True)).to_have_count(0)


def test_two_hundred_cases_are_decided_by_keyboard(tabs: Tabs, world: World) -> None:
    tab = tabs("mint")
    with tab.page.expect_navigation(wait_until="load"):
        tab.press("n")
    for number in range(MANY):
        assert "/cases/" in tab.page.url
        with tab.page.expect_navigation(wait_until="load"):
            tab.press("iw"[number % 2], "Enter")
    assert "empty=1" in tab.page.url
    assert not tab.page.evaluate(DRAFTS)
    cases = world.pages.cases(CaseFilter(owner="mint"))
    assert len(cases) == MANY
    made = []
    with world.pages.store.view() as view:
        for case in cases:
            made += view.cases.decisions(case.id)
    assert len(made) == len({one.case_id for one in made}) == MANY
    assert all(one.actor == world.pages.ids["mint"] for one in made)
    outcomes = sorted(one.ruling.outcome.value for one in made)
    assert outcomes == ["infringing"] * (MANY // 2) + ["wrong_match"] * (MANY // 2)


def test_two_people_at_one_case(tabs: Tabs, world: World) -> None:
    case = world.cases["cropped"]
    one, two = tabs("admin"), tabs("investigator", language="zh-CN")
    for tab in (one, two):
        tab.open(f"/cases/{case.id}")
    one.press("l")
    expect(one.page.locator("#lease")).to_contain_text("You have this case")
    with one.page.expect_response("**/lease") as renewed:
        one.page.evaluate("document.getElementById('lease').dispatchEvent(new Event('renew'))")
    assert renewed.value.status == 200
    two.press("w", "t")
    two.page.keyboard.type("别的作品")
    two.page.keyboard.press("Control+Enter")
    expect(two.page.locator("[data-problem]")).to_be_focused()
    assert two.page.input_value("#note") == "别的作品"
    assert two.page.is_checked("[value=wrong_match]")
    one.press("x")
    one.page.wait_for_url("**/queue")
    two.page.get_by_role("button", name="裁定并留在本页").click()
    expect(two.page.locator(".said")).to_be_visible()
    assert world.pages.case_of_id(case.id).state is CaseState.DECIDED
    two.press("u")
    expect(two.page.locator(".said")).to_be_visible()


def test_keys_are_told_and_can_be_turned_off(tabs: Tabs, world: World) -> None:
    tab = tabs("admin")
    path = cases_by_name(world, "cropped")[0]
    tab.open(path)
    tab.press("?")
    told = tab.page.inner_text("#help .keys")
    for name in ("Infringing", "Overlay", "Next case", "Note", "Undo"):
        assert name in told or name in ("Next case", "Undo"), name
    tab.press("Escape")
    tab.open("/settings")
    tab.page.check("[name=keys][value=off]")
    tab.page.get_by_role("button", name="Save").click()
    tab.open(path)
    tab.press("i", "2")
    assert not tab.page.is_checked("[value=infringing]")
    assert tab.page.get_attribute("[data-mode=overlay]", "aria-pressed") == "false"


# Comparing


def test_pictures_are_laid_over_each_other(tabs: Tabs, world: World) -> None:
    tab = tabs("admin")
    tab.open(cases_by_name(world, "cropped")[0])
    page = tab.page
    expect(page.locator('[data-side="work"] polygon')).to_have_count(1)
    tab.press("2")
    whole = page.locator('[data-side="work"] .stage:not(.warped) img').bounding_box()
    laid = page.locator(".stage.warped img").bounding_box()
    assert whole is not None
    assert laid is not None
    # What was found is the middle half of the work.
    assert laid["x"] == pytest.approx(whole["x"] + whole["width"] / 4, abs=1.5)
    assert laid["y"] == pytest.approx(whole["y"] + whole["height"] / 4, abs=1.5)
    assert laid["width"] == pytest.approx(whole["width"] / 2, abs=1.5)
    page.locator("[data-opacity]").fill("20")
    assert property_of(page, ".stage.warped", "style.opacity") == "0.2"
    tab.press("4")
    assert page.eval_on_selector(".stage.warped", "one => getComputedStyle(one).mixBlendMode") == "difference"
    tab.press("3")
    page.wait_for_selector(".stage.warped.away", state="attached")
    tab.press("1")
    expect(page.locator('[data-side="found"]')).to_be_visible()
    tab.press("o")
    expect(page.locator(".viewer")).to_have_class(re.compile("no-outlines"))


def test_zoom_and_pan_are_linked_through_the_transform(tabs: Tabs, world: World) -> None:
    tab = tabs("admin")
    tab.open(cases_by_name(world, "mirrored")[0])
    page = tab.page
    place = """side => {
        const port = document.querySelector(`[data-side=${side}] .port`).getBoundingClientRect();
        const image = document.querySelector(`[data-side=${side}] img:not(.thumb)`).getBoundingClientRect();
        return [(port.x + port.width / 2 - image.x) / image.width, (port.y + port.height / 2 - image.y) / image.height,
            image.width];
    }"""
    tab.press("+", "+", "+", "+", "ArrowRight", "ArrowRight", "ArrowDown")
    work, found = page.evaluate(place, "work"), page.evaluate(place, "found")
    assert work[0] > 0.52
    assert found[0] == pytest.approx(1 - work[0], abs=0.005)  # mirrored
    assert found[1] == pytest.approx(work[1], abs=0.005)
    assert found[2] == pytest.approx(work[2], rel=0.01)
    port = page.locator('[data-side="found"] .port').bounding_box()
    assert port is not None
    page.mouse.move(port["x"] + 150, port["y"] + 150)
    page.mouse.wheel(0, -300)
    page.mouse.down()
    page.mouse.move(port["x"] + 110, port["y"] + 130)
    page.mouse.up()
    again, other = page.evaluate(place, "work"), page.evaluate(place, "found")
    assert again[2] > work[2]
    assert other[0] == pytest.approx(1 - again[0], abs=0.005)
    tab.press("0")
    assert page.evaluate(place, "work")[0] == pytest.approx(0.5, abs=0.005)
    expect(page.locator(".strip a")).to_have_count(2)


HIGH = """async (ratio) => {
    const context = new OfflineAudioContext(1, 48000, 48000);
    const address = document.querySelector("script[type=module]").src.replace("app.js", "shift.js");
    await context.audioWorklet.addModule(address);
    const [tone, shift] = [new OscillatorNode(context, {frequency: 440}), new AudioWorkletNode(context, "shift")];
    shift.parameters.get("ratio").value = ratio;
    tone.connect(shift).connect(context.destination);
    tone.start();
    const heard = (await context.startRendering()).getChannelData(0).slice(12000);
    let rises = 0;
    for (let i = 1; i < heard.length; i += 1) rises += heard[i - 1] < 0 && heard[i] >= 0;
    return rises * 48000 / heard.length;
}"""
"""How high a tone of 440 Hz is behind the module, in Hz."""
TIMES = "() => [...document.querySelectorAll('[data-player]')].map(one => one.currentTime)"


def test_films_stay_in_step(tabs: Tabs, world: World) -> None:
    tab = tabs("admin")
    tab.open(cases_by_name(world, "film")[0])
    page = tab.page
    page.wait_for_function("() => [...document.querySelectorAll('video')].every(one => one.readyState >= 2)")
    page.wait_for_function(
        "() => Math.abs(document.querySelector('[data-side=work] video').currentTime - 4) < 0.3"
    )
    expect(page.locator('[data-side="found"] .outlines polygon')).to_have_count(1)
    tab.press("Space")
    page.wait_for_function("() => document.querySelector('[data-side=found] video').currentTime > 1.5")
    tab.press("Space")
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')].every(one => one.paused && !one.seeking)"
    )
    tab.press(".", ",", ".")
    page.wait_for_function(
        "() => { const [w, f] = [...document.querySelectorAll('video')].map(one => one.currentTime);"
        " return Math.abs(w - f - 4) < 0.15; }"
    )
    tab.press("]")
    page.wait_for_function(
        "() => { const [w, f] = [...document.querySelectorAll('video')].map(one => one.currentTime);"
        " return Math.abs(f - 12) < 0.1 && Math.abs(w - 3) < 0.15; }"
    )
    expect(page.locator("[data-told]")).to_contain_text("backwards")
    expect(page.locator('[data-goto="1"]')).to_have_attribute("aria-current", "true")
    expect(page.locator('[data-goto="1"]')).to_contain_text("◂")
    page.locator('[data-side="found"] .timeline').focus()
    tab.press("Home", "Shift+ArrowRight")
    page.wait_for_function(
        "() => { const [w, f] = [...document.querySelectorAll('video')].map(one => one.currentTime);"
        " return Math.abs(f - 1) < 0.1 && Math.abs(w - 5) < 0.15; }"
    )


def test_sounds_are_compensated_on_demand(tabs: Tabs, world: World) -> None:
    tab = tabs("admin")
    tab.open(cases_by_name(world, "sound")[0])
    page = tab.page
    page.wait_for_function("() => [...document.querySelectorAll('audio')].every(one => one.readyState >= 1)")
    rates = "() => [...document.querySelectorAll('audio')].map(one => [one.playbackRate, one.preservesPitch])"
    (work, pitch), (found, _) = page.evaluate(rates)
    assert (work, found, pitch) == (pytest.approx(FASTER, abs=0.01), 1, True)
    page.uncheck("[data-pitch]")
    page.uncheck("[data-tempo]")
    assert page.evaluate(rates) == [[1, False], [1, False]]
    page.check("[data-tempo]")
    page.select_option("[data-rate]", "0.5")
    assert page.evaluate(rates)[0][0] == pytest.approx(FASTER / 2, abs=0.01)
    drawn = "() => { const c = document.querySelector('canvas'); return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(Boolean); }"
    page.wait_for_function(drawn)
    assert page.get_attribute("[data-near]", "aria-pressed") == "true"
    width = property_of(page, '[data-side="work"] .spectrogram img', "style.width")
    assert float(width.removesuffix("%")) == pytest.approx(100 * 24 / 18, abs=1)
    tab.press("z")
    assert property_of(page, '[data-side="work"] .spectrogram img', "style.width") == "100%"
    page.check("[data-tune]")
    assert page.evaluate(HIGH, 2 ** (HIGHER / 1200)) == pytest.approx(440 * 2 ** (HIGHER / 1200), rel=0.01)


def test_passages_of_texts_are_marked(tabs: Tabs, world: World) -> None:
    tab = tabs("admin")
    tab.open(cases_by_name(world, "text")[0])
    expect(tab.page.locator("mark")).to_have_count(2)
    assert tab.page.locator("mark").first.inner_text().startswith("<b>Some years ago</b>")


def test_what_is_sensitive_is_shown_when_asked_for(tabs: Tabs, world: World) -> None:
    tab = tabs("admin")
    tab.open(cases_by_name(world, "sensitive")[0])
    expect(tab.page.locator(".veil")).to_be_visible()
    tab.press("b")
    expect(tab.page.locator(".veil")).to_be_hidden()
    tab.open("/queue?q=everybody")
    expect(tab.page.locator(".thumbs.veiled")).to_have_count(1)
    tab.open("/queue?q=morning")
    expect(tab.page.locator(".thumbs.veiled")).to_have_count(0)


def test_a_missing_preview_is_told(tabs: Tabs, world: World) -> None:
    tab = tabs("admin", width=360, height=740)
    tab.open(cases_by_name(world, "missing")[0])
    shown = tab.page.inner_text(".viewer")
    assert "Reading it took longer than the server allows." in shown
    assert "asked for no previews" in shown
    tab.page.get_by_text("Need more").tap()
    tab.page.get_by_role("button", name="Decide, and stay here").tap()
    expect(tab.page.locator(".said")).to_contain_text("Need more")


def test_without_scripts_everything_important_works(tabs: Tabs, world: World, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{world.url}/sign-in")
    page.fill("#key", world.pages.keys["admin"])
    page.click(".primary")
    page.goto(f"{world.url}/queue?q=hostile&state=all")
    page.goto(f"{world.url}{cases_by_name(world, 'hostile')[0]}")
    page.check("[value=need_more]")
    page.get_by_role("button", name="Decide, and stay here").click()
    expect(page.locator(".said")).to_contain_text("Need more")
    context.close()
