"""The page of the studio in a headless Chromium: ``python -m benchmarks.page LIBRARY [--json FILE]``.

- bytes: the JavaScript that is fetched for the first picture, and with the viewer, compressed.
- first picture: from the start of navigation, with an empty cache, until the search box takes words and every figure in the
  window is drawn.
- figures: pictures a second of a page with fifty moving figures against the same page standing still: a ratio, since WebGL,
  canvas and compositor all run on the processor here. Beside it the milliseconds a picture that the page's own script takes.

Everything is drawn in software and the server runs on the same cores: a machine with a graphics card is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs.make_studio import browsing, drawn, serving
from remora.web.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TALL = {"width": 1700, "height": 2300}  # fifty cards in the window
REPEATS = 5
SECONDS = 3
PICTURES = f"""() => new Promise(done => {{
    const times = []; const end = performance.now() + {SECONDS * 1000};
    requestAnimationFrame(function step(now) {{ times.push(now); now < end ? requestAnimationFrame(step) : done(times); }});
}})"""


def pictures_a_second(page: Page) -> float:
    """How often the page could draw within some seconds."""
    times = page.evaluate(PICTURES)
    return 1000 * (len(times) - 1) / float(times[-1] - times[0])


def script_ms(page: Page) -> float:
    """Milliseconds of script since the page began."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
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
    return {"script_first_bytes": first, "script_all_bytes": sum(found)}


def first_picture(browser: Browser, address: str) -> float:
    """Seconds until the page is of use, nothing cached."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.get_by_label("Search for a motion in words").wait_for()
    drawn(page)
    seconds = time.perf_counter() - start
    context.close()
    return seconds


def figures(browser: Browser, address: str) -> dict[str, float]:
    """Pictures a second standing still and with fifty figures moving, and what the script costs."""
    page = browser.new_page(viewport=TALL)
    page.goto(address)
    drawn(page)
    still = pictures_a_second(page)
    page.get_by_role("button", name="Play all").click()
    before = script_ms(page)
    moving = pictures_a_second(page)
    cost = (script_ms(page) - before) / (moving * SECONDS)
    page.close()
    return {"still_fps": still, "moving_fps": moving, "moving_to_still": moving / still, "script_ms_a_picture": cost}


def measure(library: Path) -> dict[str, Any]:
    """All of it."""
    with serving(Settings(library=library)) as address, browsing() as browser:
        found: dict[str, Any] = {"load": os.getloadavg()[0], **script_bytes(browser, address)}
        found["first_picture_s"] = statistics.median(first_picture(browser, address) for _ in range(REPEATS))
        return found | figures(browser, address)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.library)
    for name, value in found.items():
        print(f"{name:22} {value:,.3f}" if isinstance(value, float) else f"{name:22} {value:,}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
