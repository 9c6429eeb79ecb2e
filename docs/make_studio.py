"""Pictures of the studio in a headless Chromium: ``python -m docs.make_studio LIBRARY`` draws those of the README."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from remora.web.settings import Settings

# WebGL in software, so that a machine without a screen draws the same
ARGUMENTS = [
    "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]  # fmt: skip
PLAIN = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
]  # no WebGL, nothing that plays a graphics card
SIZE = {"width": 1440, "height": 900}
WAITING = "all => all.some(one => one.dataset.state === 'loading' && one.getBoundingClientRect().top < innerHeight)"
QUESTION = "someone kicks"


def chromium() -> str | None:
    """The path of the system's Chromium; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """A studio at a free port of this machine, in this process; its address."""
    import uvicorn

    from remora.web.app import create_app

    config = uvicorn.Config(create_app(settings), port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@contextmanager
def browsing(arguments: Sequence[str] = ARGUMENTS) -> Iterator[Browser]:
    """A headless Chromium.

    Raises:
        RuntimeError: this machine has none.
    """
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        raise RuntimeError("no chromium on this machine; install it: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(arguments))
        yield browser
        browser.close()


def drawn(page: Page) -> None:
    """Wait until what the window shows has its figures."""
    page.wait_for_selector(".card-open .figure[data-state=ready]")
    while page.locator(".card-open .figure").evaluate_all(WAITING):
        page.wait_for_timeout(50)


def main() -> int:
    """Write both pictures; the exit status."""
    from remora.web.settings import Settings

    folder = Path(__file__).parent
    with serving(Settings(library=Path(sys.argv[1]))) as address, browsing() as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.set_default_timeout(120_000)
        for _ in range(2):  # the first question waits for the encoder
            page.goto(f"{address}?q={QUESTION}")
            drawn(page)
        page.locator(".card-open").nth(0).click()
        page.wait_for_selector(".stage[data-state=ready]")
        page.get_by_label("Compare with the open clip").nth(1).click()
        page.wait_for_timeout(6000)  # a few steps into the motion, drawn in software
        page.screenshot(path=folder / "studio.png")
        page.emulate_media(color_scheme="dark")
        page.goto(f"{address}?view=map&q={QUESTION}")
        page.wait_for_selector(".map-plane canvas")
        page.wait_for_timeout(2000)
        page.screenshot(path=folder / "studio-map.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
