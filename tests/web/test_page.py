"""The page in a real browser: what a person does, with a keyboard too, at three widths, and when things go wrong."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest

from db import Library
from docs.make_studio import browsing, chromium, drawn, serving
from indexer import index
from motion import read
from remora import Engine
from remora.web.settings import Settings
from tests.conftest import REPOSITORY
from tests.fakes import FakeEncoder, write_takes
from tests.web.conftest import FakeGenerator, stand_ins

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium here; install it: apt-get install chromium")

TAKES = {
    "salsa dance.npy": 3.0, "wave hello.npy": 2.0, "kick ball.npy": 2.5, "jump high.npy": 1.5, "long walk.npy": 6.0,
    "sit down.npy": 2.2, "stand up.npy": 2.4, "turn around.npy": 3.1,
}  # fmt: skip
PICTURES = REPOSITORY / "out" / "studio"  # looked at, not compared
WIDTHS = {"narrow": (390, 844), "middle": (900, 1100), "wide": (1440, 900)}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips; the words of their captions are what the fake encoder knows them by."""
    folder = tmp_path_factory.mktemp("page")
    index([write_takes(folder / "takes", TAKES)], folder / "library", encoder=FakeEncoder())
    return folder / "library"


@pytest.fixture(scope="module")
def address(library: Path) -> Iterator[str]:
    """A studio over it."""
    with pytest.MonkeyPatch.context() as patch:
        stand_ins(patch, FakeGenerator())
        with serving(Settings(library=library, rate=1e6, burst=1e6)) as url:
            yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all."""
    with browsing() as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A wide window whose script may fail nowhere, and which may speak to nobody else."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 760}, reduced_motion="reduce", accept_downloads=True
    )
    faults: list[str] = []
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda asked: faults.append(asked.url) if urlsplit(asked.url).hostname not in OWN else None)
    yield page
    context.close()
    assert faults == []


OWN = ("127.0.0.1", "", None)  # None: blob addresses


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for what the page does in its own time; its policy forbids the text of conditions inside it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def _pressed(page: Page, key: str) -> bool:
    page.keyboard.press(key)
    return True


def query(page: Page) -> dict[str, list[str]]:
    """What the address says."""
    return parse_qs(urlsplit(page.url).query)


def ids(page: Page) -> list[str]:
    """Clips of the grid, in their order."""
    return page.locator(".card-open").evaluate_all("cards => cards.map(card => card.dataset.clip)")


def violations(page: Page) -> list[Any]:
    """What axe finds, in short."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found]


def test_search_play_compare_export_and_the_file_holds_the_frames(page: Page, address: str, library: Path) -> None:
    page.goto(address)
    drawn(page)
    assert len(ids(page)) == len(TAKES)
    page.keyboard.press("/")
    page.keyboard.type("kick ball")
    page.wait_for_selector(".card-score")
    best, second = ids(page)[:2]
    assert "kick ball" in best and query(page)["q"] == ["kick ball"]

    page.locator(".card-open").first.click()
    page.wait_for_selector(".stage[data-state=ready]")
    scrub = page.get_by_label("Time", exact=True)
    assert float(scrub.input_value()) == 0  # who wants no motion gets a still
    page.keyboard.press(" ")
    until(lambda: float(scrub.input_value()) > 0)
    page.get_by_role("button", name="Pause", exact=True).click()
    page.keyboard.press(".")
    assert float(scrub.input_value()) > 0

    page.get_by_label("Compare with the open clip").nth(1).click()
    page.get_by_role("heading", name="Beside").wait_for()
    assert query(page)["open"] == [best] and query(page)["ghost"] == [second]
    until(lambda: page.locator(".viewer .why div").count() == 6)

    page.locator(".viewer .menu summary").click()
    with page.expect_download() as waiting:
        page.locator(".menu").get_by_role("link", name="NPY").click()
    joints = np.load(waiting.value.path(), allow_pickle=False)
    np.testing.assert_array_equal(joints, Engine(library).clip(best).joints)

    page.keyboard.press("b")
    page.get_by_label(f"Basket: {second.split('/')[-1].split('.')[0]}").click()
    page.get_by_role("button", name="Basket, 2 clips").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export zip").click()
    with zipfile.ZipFile(io.BytesIO(Path(waiting.value.path()).read_bytes())) as packed:
        names = packed.namelist()
        told = json.loads(packed.read("clips.json"))
        written = next(name for name in names if name.endswith(".bvh"))
        folder = library.parent / "unpacked"
        packed.extract(written, folder)
    assert len([name for name in names if name.endswith(".glb")]) == len(told) == 2
    (opened,) = read(folder / written)
    assert len(opened) > 1


def test_a_link_shows_the_same_and_back_goes_back(page: Page, address: str) -> None:
    page.goto(f"{address}?q=wave+hello&part=left_arm&more=no-such-clip")
    page.get_by_role("alert").or_(
        page.locator(".nothing")
    ).first.wait_for()  # an unknown clip is said, not a blank page
    page.goto(f"{address}?q=wave+hello&part=left_arm")
    page.wait_for_selector(".card-score")
    first = ids(page)
    assert page.get_by_role("button", name="left arm", exact=True).get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="right leg", exact=True).click()
    page.get_by_text("1.00 ×").first.wait_for()
    assert query(page)["part"] == ["left_arm", "right_leg"]
    page.go_back()
    page.get_by_text("1.00 ×").first.wait_for(state="detached")
    page.reload()
    page.wait_for_selector(".card-score")
    assert ids(page) == first and page.get_by_label("Search for a motion in words").input_value() == "wave hello"


def test_filters_have_counts_and_narrow_the_answer(page: Page, address: str) -> None:
    page.goto(address)
    drawn(page)
    low = page.get_by_label("Length, from")
    low.fill("2.5")
    long = sorted(name for name, seconds in TAKES.items() if seconds >= 2.5)
    until(lambda: sorted(one.split("/")[-1].split("#")[0] for one in ids(page)) == long)
    page.get_by_label("Clear filter Length").click()
    until(lambda: len(ids(page)) == len(TAKES))
    page.goto(f"{address}?f.duration_s=90..91")
    page.get_by_role("button", name="Clear the filters").click()
    drawn(page)


def test_a_file_is_searched_by_and_a_broken_one_leaves_the_page_usable(page: Page, address: str, library: Path) -> None:
    page.goto(address)
    drawn(page)
    picker = page.locator("input[type=file]")
    picker.set_input_files({"name": "broken.bvh", "mimeType": "text/plain", "buffer": b"HIERARCHY\nROOT {{{"})
    fault = page.get_by_role("alert")
    fault.wait_for()
    assert "broken.bvh" in fault.inner_text()
    page.get_by_label("Close message").click()
    bvh = library.parent / "asked.bvh"
    engine = Engine(library)
    clip_id = Library.open(library).snapshot().ids()[0]
    engine.export(clip_id, bvh)
    picker.set_input_files(bvh)
    page.wait_for_selector(".card-score")
    assert query(page)["motion"][0].startswith("upload:")
    assert page.get_by_text("like asked.bvh").is_visible()


def test_it_is_used_by_the_keyboard_alone(page: Page, address: str) -> None:
    page.goto(address)
    drawn(page)
    cards = ids(page)
    page.locator(".card-open").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector(".stage[data-state=ready]")
    assert query(page)["open"] == [cards[1]]
    page.keyboard.press("Escape")
    page.wait_for_selector(".viewer", state="detached")
    page.keyboard.press("?")
    page.get_by_role("heading", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Keys").wait_for(state="hidden")
    until(lambda: _pressed(page, "m") and "view=map" in page.url)  # the dialog says that it is closed a moment later
    page.locator(".map-plane canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector(".viewer")


def test_a_brush_on_the_map_filters_the_grid(page: Page, address: str) -> None:
    page.goto(f"{address}?view=map")
    plane = page.locator(".map-plane canvas")
    plane.wait_for()
    box = plane.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 4, steps=3)
    page.mouse.up()
    page.get_by_role("button", name="in the grid").click()
    until(lambda: 0 < len(ids(page)) < len(TAKES))
    assert "area" in query(page)


def test_moments_are_marks_and_one_leads_to_its_second(page: Page, address: str, library: Path) -> None:
    clip_id = next(one for one in Library.open(library).snapshot().ids() if "walk" in one)
    page.goto(f"{address}?q=a+long+walk&open={quote(clip_id, safe='')}")
    page.wait_for_selector(".track-moment")
    (found,) = Engine(library, encoder=FakeEncoder()).localize("a long walk", clip_id=clip_id, k=3)
    best = page.get_by_label(f"Moment 1: {found[0].start_s:.1f} to {found[0].end_s:.1f} seconds")
    page.get_by_label("Time", exact=True).fill("5")
    best.click()
    scrub = page.get_by_label("Time", exact=True)
    until(lambda: float(scrub.input_value()) == pytest.approx(found[0].start_s, abs=0.06))


def test_more_and_less_like_this_change_the_answer(page: Page, address: str) -> None:
    page.goto(address)
    drawn(page)
    assert page.get_by_label("Less like: kick ball").count() == 0  # away from a clip is no question by itself
    page.locator(".card").first.hover()
    page.get_by_label("More like:").first.click()
    page.wait_for_selector(".card-score")
    (more,) = query(page)["more"]
    assert more not in ids(page)
    worst = ids(page)[-1]
    page.locator(".card").first.hover()
    page.get_by_label("Less like:").first.click()
    until(lambda: len(ids(page)) == len(TAKES) - 2)
    assert query(page)["less"][0] not in ids(page) and worst in ids(page)
    page.get_by_label("Remove: less").click()
    until(lambda: len(ids(page)) == len(TAKES) - 1)


def test_a_motion_is_made_beside_its_exemplars_and_kept(page: Page, address: str, library: Path) -> None:
    page.goto(f"{address}?view=make")
    page.get_by_label("What should the body do?").fill("wave hello")
    page.get_by_label("Seed", exact=True).fill("12")
    page.get_by_role("spinbutton", name="Seconds").fill("2")
    page.get_by_role("slider", name="Guidance by words").fill("4")
    page.get_by_role("button", name="Make", exact=True).last.click()
    page.wait_for_selector(".fresh")
    assert page.get_by_text("2.0 s · seed 12 · words 4 · exemplars 1").is_visible()
    assert page.locator(".exemplar").count() == 2 and query(page)["seed"] == ["12"]
    page.locator(".exemplar").first.click()
    page.get_by_role("heading", name="Beside").wait_for()
    assert query(page)["open"][0].startswith("result:")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="keep", exact=True).click()
    page.get_by_role("button", name="in the library").wait_for()
    assert Library.open(library).snapshot().ids(where="source = 'kept'")


def test_a_studio_that_is_gone_is_said(page: Page, address: str) -> None:
    page.route("**/api/search", lambda route: route.abort())
    page.goto(f"{address}?q=anything")
    page.get_by_role("heading", name="That did not work").wait_for()
    page.unroute("**/api/search")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(".card-score")


def test_figures_wait_for_their_turn_where_too_much_is_asked(page: Page, address: str) -> None:
    refused: list[str] = []

    def once(route: Any) -> None:
        if route.request.url in refused:
            route.continue_()
            return
        refused.append(route.request.url)
        body = json.dumps({"error": "too many requests; ask more slowly", "code": "busy"})
        route.fulfill(status=429, headers={"Retry-After": "1", "Content-Type": "application/json"}, body=body)

    page.route("**/api/frames/**", once)
    page.goto(address)
    drawn(page)
    assert refused and page.locator(".figure[data-state=lost]").count() == 0


def test_a_page_over_an_empty_watched_folder_shows_the_first_motion_by_itself(page: Page, tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    settings = Settings(library=tmp_path / "new", watch=tmp_path / "inbox", rate=1e6, burst=1e6)
    with pytest.MonkeyPatch.context() as patch:
        stand_ins(patch, FakeGenerator())
        with serving(settings) as url:
            page.goto(url)
            page.get_by_text("begins with the first motion that is put into inbox").wait_for()
            write_takes(tmp_path / "inbox", {"first jump.npy": 1.5})
            drawn(page)
            assert [one.split("#")[0] for one in ids(page)] == ["inbox/first jump.npy"]


def test_a_link_with_numbers_that_are_none_asks_with_the_usual_ones(page: Page, address: str) -> None:
    page.goto(f"{address}?q=wave+hello&part=left_arm&weight=left_arm:Infinity&candidates=few")
    page.wait_for_selector(".card-score")
    page.get_by_role("button", name="Make", exact=True).click()
    page.get_by_text("the best of 4").wait_for()


@pytest.mark.parametrize(("width", "theme"), [("narrow", "dark"), ("middle", "light"), ("wide", "light")])
def test_accessible_and_drawn_at_every_width(browser: Browser, address: str, width: str, theme: Any) -> None:
    size = {"width": WIDTHS[width][0], "height": WIDTHS[width][1]}
    context = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")
    page = context.new_page()
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, place in (("start", ""), ("answer", "?q=kick+ball&part=left_leg&part=right_leg"), ("make", "?view=make")):
        page.goto(address + place)
        if name == "make":
            page.wait_for_selector(".make, .nothing")
        else:
            drawn(page)
        if name == "answer":
            page.locator(".card-open").first.click()
            page.wait_for_selector(".stage[data-state=ready]")
        page.screenshot(path=PICTURES / f"{name}-{width}-{theme}.png")
        assert violations(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than its window"
    context.close()
