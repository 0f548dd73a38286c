"""Frames a second of the page's map, measured in a headless Chromium by `benchmarks.page_map`."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

SECONDS = 5
SIZE = (1400, 900)
SOFTWARE_WILL_DO = "WebGLRenderingContext.prototype.getExtension = () => null"  # its name is not told then
# Pans and zooms with every frame. Reading a pixel waits until the frame is drawn, which no other call promises.
MEASURE = """
const [seconds, done] = [arguments[0], arguments[1]];
const canvas = document.querySelector("canvas"), gl = canvas.getContext("webgl");
const pixel = new Uint8Array(4), times = [];
const began = performance.now();
const step = (now) => {
    times.push(now);
    const forth = times.length % 40 < 20;
    canvas.dispatchEvent(new WheelEvent("wheel", {deltaY: forth ? -20 : 20, clientX: 700, clientY: 400}));
    canvas.dispatchEvent(new KeyboardEvent("keydown", {key: forth ? "ArrowLeft" : "ArrowRight"}));
    if (gl) gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    if (now - began < 1000 * seconds) return requestAnimationFrame(step);
    const gaps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
    const slow = gaps[Math.floor(0.95 * gaps.length)];
    const share = Number(document.querySelector("[data-share]").dataset.share);
    const by = document.querySelector("[data-drawn]").dataset.drawn.split(" ")[0];
    done({frames: times.length - 1, seconds: (times.at(-1) - times[0]) / 1000, slow, share, by,
        pixels: [canvas.width, canvas.height]});
};
requestAnimationFrame(step);
"""


def frames(count: int) -> dict[str, Any]:
    """Frames a second of so many points, as the page draws them here, and by WebGL even if that is software."""
    return {"points": count, "page": _measured(count, ""), "webgl": _measured(count, SOFTWARE_WILL_DO)}


def _measured(count: int, script: str) -> dict[str, Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for flag in ("--headless=new", "--no-sandbox", "--enable-unsafe-swiftshader", f"--window-size={SIZE[0]},{SIZE[1]}"):
        options.add_argument(flag)
    with _page(count) as url:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            driver.set_script_timeout(60)
            driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
            driver.get(url)
            while not driver.execute_script("return document.querySelector('.map-here').dataset.drawn"):
                time.sleep(0.1)
            found = driver.execute_async_script(MEASURE, SECONDS)
        finally:
            driver.quit()
    rate = round(found["frames"] / found["seconds"], 1)
    shown = {"by": found["by"], "pixels": found["pixels"], "share_of_points": found["share"]}
    return shown | {"frames_per_s": rate, "p95_ms": round(found["slow"], 1)}


@contextmanager
def _page(count: int) -> Iterator[str]:
    """A page with the map alone, of points in clusters."""
    import uvicorn
    from fastapi import FastAPI, Response
    from fastapi.responses import HTMLResponse

    from cpchub_serving.page import scripts
    from cpchub_serving.page.map import tab
    from cpchub_serving.page.style.theme import style_sheets
    from cpchub_serving.visit.colouring import by_class
    from cpchub_serving.visit.plane import in_steps

    random = np.random.default_rng(0)
    group = random.integers(0, 40, count)
    places = in_steps((random.uniform(-1, 1, (40, 2))[group] + 0.12 * random.standard_normal((count, 2))).astype("f4"))
    coloured = by_class(group % 10, [f"class {number}" for number in range(10)])
    legend = json.dumps(coloured.legend()).encode()
    legend += b" " * (len(legend) % 2)
    app = FastAPI()
    app.include_router(scripts.routes())
    style = "".join(sheet.read_text(encoding="utf-8") for sheet in style_sheets())
    start = 'import("/page/script/map/map.js").then((map) => map.start(document.querySelector(".map-here")))'
    html = f"<style>{style}</style><div class=map-here>{tab.FRAME}</div><script type=module>{start}</script>"
    state = {"count": count, "state": "done", "version": "tsne", "note": "", "colourings": [["class", "class"]]}
    app.get("/", response_class=HTMLResponse)(lambda: html)
    app.get("/page/map/state")(lambda: state)
    app.get("/page/map/points")(lambda: Response(places.astype("<u2").tobytes()))
    app.get("/page/map/colours")(
        lambda: Response(len(legend).to_bytes(4, "little") + legend + coloured.codes.astype("<u2").tobytes())
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
