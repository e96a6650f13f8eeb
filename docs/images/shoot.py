"""Takes the pictures of this folder from a Jaeger that has the two pipelines; README.md says how it gets them.

python shoot.py http://127.0.0.1:16686 TRACES.jsonl
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
WIDTH = 1180
SETTLES_MS = 1_500


def trace(jaeger: str, service: str) -> str:
    """Return the address of the newest trace of a service."""
    with urllib.request.urlopen(f"{jaeger}/api/traces?service={service}&limit=1") as answer:
        return f"{jaeger}/trace/{json.load(answer)['data'][0]['traceID']}"


def look(page: Page, address: str, height: int) -> None:
    """Open a page of Jaeger in a window of this height."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.goto(address)
    page.wait_for_timeout(SETTLES_MS)


def open_span(page: Page, row: int) -> None:
    """Show the details of the span in a row."""
    page.locator(".span-row").nth(row).locator(".span-view").click()
    page.wait_for_timeout(SETTLES_MS)


def keep(page: Page, name: str) -> None:
    """Write the picture."""
    page.screenshot(path=HERE / f"{name}.png")


def statistics(page: Page) -> None:
    """Turn to the statistics, by status and stage."""
    page.get_by_text("Trace Timeline").first.click()
    page.get_by_text("Trace Statistics").first.click()
    for box, value in enumerate(("stageio.status", "Operation Name")):
        page.locator(".ant-select").nth(box).click()
        page.keyboard.type(value)
        page.wait_for_timeout(SETTLES_MS)
        page.keyboard.press("Enter")
    page.wait_for_timeout(SETTLES_MS)


def main(jaeger: str, traces: str) -> None:
    """Take all pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        look(page, trace(jaeger, "speech"), 700)
        keep(page, "jaeger-speech")
        open_span(page, 6)
        page.set_viewport_size({"width": WIDTH, "height": 1_000})
        page.locator(".span-row").nth(6).scroll_into_view_if_needed()
        page.get_by_text("Tags:").first.click()
        keep(page, "jaeger-stage")
        states = trace(jaeger, "talk-subtitles")
        look(page, states, 630)
        keep(page, "jaeger-states")
        statistics(page)
        page.set_viewport_size({"width": WIDTH, "height": 960})
        keep(page, "jaeger-statistics")
        look(page, f"{jaeger}/search", 640)
        page.get_by_text("Upload", exact=True).click()
        page.locator("input[type=file]").set_input_files(traces)
        page.wait_for_timeout(SETTLES_MS)
        keep(page, "jaeger-upload")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
