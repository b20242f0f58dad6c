"""Pictures of the playground, as a phone, a laptop and a projector show it.

    .venv/bin/python docs/screenshots.py [BROWSER]

BROWSER is a Chromium; without it, the one that playwright has downloaded.
"""

import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
SHOWN = {
    "laptop": ("lesson=adamw&optimizer=adamw&steps=60", (1366, 768), 1, "light"),
    "projector": ("surface=ravine&mean=on&steps=150", (1920, 1080), 1, "dark"),
    "phone": ("lesson=clipping&lr=0.1&clip=after&steps=24&x=-3&y=1", (390, 844), 2, "light"),
}


def main():
    from playwright.sync_api import sync_playwright

    from lightning_dice.playground import write_playground

    browser_path = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        address = write_playground(Path(folder) / "playground.html").as_uri()
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=browser_path, args=arguments)
        for name, (state, (width, height), density, scheme) in SHOWN.items():
            page = browser.new_page(
                viewport={"width": width, "height": height},
                device_scale_factor=density,
                color_scheme=scheme,
                reduced_motion="reduce",
            )
            page.goto(f"{address}#{state}")
            page.wait_for_timeout(500)
            page.screenshot(path=IMAGES / f"playground-{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
