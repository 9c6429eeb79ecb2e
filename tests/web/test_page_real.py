"""The page with the shipped encoder and generator: what a person sees in the first five minutes after the demo."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.make_studio import browsing, chromium, drawn, serving
from remora import Engine, synthesise
from remora.demo import write_folder
from remora.web.settings import Settings

pytestmark = pytest.mark.skipif(chromium() is None, reason="no chromium here; install it: apt-get install chromium")


def test_search_moments_and_a_new_motion_with_the_shipped_weights(tmp_path: Path) -> None:
    source = write_folder(synthesise(40, seed=3), tmp_path / "motions", lambda stage, done, total: None)
    Engine(tmp_path / "library").index(source, captions=source / "captions.csv")
    with serving(Settings(library=tmp_path / "library")) as address, browsing() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 760}, reduced_motion="reduce")
        page.set_default_timeout(60_000)
        page.goto(f"{address}?q=a person waves with the right hand")
        page.wait_for_selector(".card-score")  # by itself, once the encoder is loaded
        drawn(page)
        titles = page.locator(".card-title").all_inner_texts()
        assert "right hand" in titles[0] and "wave" in titles[0]

        page.locator(".card-open").first.click()
        page.wait_for_selector(".track-moment")
        page.get_by_role("button", name="Make", exact=True).click()
        page.get_by_role("spinbutton", name="Seconds").fill("2")
        page.get_by_label("Seed", exact=True).fill("5")
        page.locator(".make-form .primary").click()
        page.wait_for_selector(".fresh .figure[data-state=ready]")
        exemplars = page.locator(".exemplar").all_inner_texts()
        assert len(exemplars) == 2 and "wave" in exemplars[0]
        assert page.get_by_text("2.0 s · seed 5").is_visible()
