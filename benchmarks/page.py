"""The page of the studio in a headless Chromium: ``python -m benchmarks.page LIBRARY [--json FILE]``.

- bytes: the JavaScript that is fetched for the first picture, and with the viewer, compressed.
- interactive: from the start of navigation, with an empty cache, until the search box takes words and the library is told;
  first picture: until every figure in the window is drawn, too.
- figures: milliseconds from picture to picture of a window full of moving figures, of a tall one with fifty, and standing
  still, in a browser that knows it has no graphics card; what the page's own script takes of each picture beside it.
- emulated: the same where the browser's processor plays a graphics card (SwiftShader), as remote desktops and test machines do.

Everything is drawn in software, and the studio, a process of its own, has the same cores: a graphics card is faster.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.serve import served
from benchmarks.slice import Row, report, row, setting
from docs.make_studio import PLAIN, browsing, drawn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession, Page, ViewportSize

USUAL: ViewportSize = {"width": 1440, "height": 900}
TALL: ViewportSize = {"width": 1700, "height": 2300}  # fifty cards in the window
REPEATS = 5
SECONDS = 3
PICTURES = f"""() => new Promise(done => {{
    const times = []; const end = performance.now() + {SECONDS * 1000};
    requestAnimationFrame(function step(now) {{ times.push(now); now < end ? requestAnimationFrame(step) : done(times); }});
}})"""


def picture_ms(page: Page) -> list[float]:
    """Milliseconds from each picture to the next, for some seconds."""
    times = page.evaluate(PICTURES)
    return np.diff(times).tolist()


def script_ms(session: CDPSession) -> float:
    """Milliseconds of script since ``Performance.enable``."""
    metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    return 1000 * float(metrics["ScriptDuration"])


def script_bytes(browser: Browser, address: str) -> dict[str, int]:
    """Compressed bytes of JavaScript: for the first picture, and once a clip is open."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    found: list[int] = []
    page.on("requestfinished", lambda one: found.append(one.sizes()["responseBodySize"]) if ".js" in one.url else None)
    page.goto(address)
    drawn(page)
    first = sum(found)
    page.locator(".card-open").first.click()
    page.wait_for_selector(".stage[data-state=ready]")
    page.close()
    return {"first": first, "all": sum(found)}


def opened(browser: Browser, address: str) -> tuple[float, float]:
    """Seconds until the page can be used, and until all figures of its window are there; nothing cached."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.get_by_label("Search for a motion in words").wait_for()
    page.locator(".example").first.wait_for()
    usable = time.perf_counter() - start
    drawn(page)
    seconds = time.perf_counter() - start
    context.close()
    return usable, seconds


def figures(browser: Browser, address: str, size: ViewportSize, aim: str = "") -> list[Row]:
    """Milliseconds a picture standing still and with all figures of the window moving, and what the script costs."""
    page = browser.new_page(viewport=size)
    page.goto(address)
    drawn(page)
    shown = page.locator(".card-open .figure[data-state=ready]").count()
    still = picture_ms(page)
    page.get_by_role("button", name="Play all").click()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    before = script_ms(session)
    moving = picture_ms(page)
    cost = (script_ms(session) - before) / len(moving)
    page.close()
    name = f"{shown} figures"
    return [
        row(f"{name} standing still, picture to picture, median", statistics.median(still), "ms"),
        row(f"{name} moving, picture to picture, median", statistics.median(moving), "ms", aim),
        row("  95 % within", float(np.quantile(moving, 0.95)), "ms"),
        row("  script of the page a picture", cost, "ms"),
    ]


def measure(library: Path) -> list[Row]:
    """All of it."""
    with served(library) as (place, _, _):
        address = f"http://{place}/"
        with browsing(PLAIN) as browser:
            moving = [*figures(browser, address, USUAL, "<= 16.8"), *figures(browser, address, TALL, "<= 16.8")]
        with browsing() as browser:
            emulated = [one | {"what": f"{one['what']} (emulated)"} for one in figures(browser, address, TALL)]
            return [*opening(browser, address), *moving, *emulated]


def opening(browser: Browser, address: str) -> list[Row]:
    """What is fetched, and until when."""
    sizes = script_bytes(browser, address)
    times = [opened(browser, address) for _ in range(REPEATS)]
    return [
        row("JavaScript for the first picture, compressed", sizes["first"] / 1000, "kB"),
        row("  and with the viewer", sizes["all"] / 1000, "kB", "<= 600"),
        row("page can be used, cold cache", statistics.median(usable for usable, _ in times), "s", "<= 1.5"),
        row("  and all figures of the window drawn", statistics.median(whole for _, whole in times), "s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("library", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    where, rows = setting(), measure(arguments.library)
    report(where, rows)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({"setting": where, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
