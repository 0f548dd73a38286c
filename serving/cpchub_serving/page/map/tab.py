"""The Map tab: the collection in the plane, drawn by the script beside this file."""

from __future__ import annotations

import gradio as gr

from cpchub_serving.page import scripts
from cpchub_serving.page.context import Context

FRAME = """
<div class="cpc-map"><div class="cpc-map-side">
<label class="cpc-map-by">Colour by <select class="cpc-menu" data-part="by"></select></label>
<div class="cpc-map-legend" data-part="legend" role="group" aria-label="Legend"></div></div>
<div class="cpc-map-main"><div class="cpc-heading"><div><h2>Map</h2><p data-part="note"></p></div>
<div class="cpc-tools"><div class="cpc-choice" role="group" aria-label="What dragging does">
<button type="button" data-tool="move" aria-pressed="true">Move</button>
<button type="button" data-tool="lasso" aria-pressed="false">Lasso</button>
<button type="button" data-tool="box" aria-pressed="false">Box</button></div>
<button type="button" class="cpc-button" data-do="seen">Select what is in view</button></div></div>
<div class="cpc-stage" data-part="stage"><canvas data-part="canvas" tabindex="0" role="application"
aria-label="Map of the images. Arrow keys move, + and − zoom, 0 shows all, Enter selects what is in view.">
</canvas><svg aria-hidden="true"><polygon data-part="line" points=""></polygon></svg>
<i class="cpc-ring" data-part="ring" hidden></i><div class="cpc-tip" data-part="tip" hidden></div>
<div class="cpc-zooms"><button type="button" data-do="closer" aria-label="Zoom in" title="Zoom in">+</button>
<button type="button" data-do="farther" aria-label="Zoom out" title="Zoom out">−</button>
<button type="button" data-do="fit" aria-label="Show the whole map" title="Show the whole map">⤢</button></div>
<div class="cpc-map-progress" data-part="progress" role="status" hidden><span data-part="what"></span>
<progress data-part="share" max="1" value="0" aria-label="How far the map is"></progress></div></div>
<p class="cpc-note">Click a class to light its images alone. Drag to move; zoom with the wheel or two fingers; hold
Shift to draw a line around images. Keys, with the map in focus: arrows, + and −, 0 for the whole, Enter to select
what is in view, Escape to select nothing.</p>
<section data-part="chosen" hidden><div class="cpc-heading"><div><h2 data-part="count" role="status"></h2>
<p data-part="said" role="status"></p></div><div class="cpc-tools">
<form class="cpc-map-say" data-part="say" hidden><input list="map-classes" maxlength="40" autocomplete="off"
aria-label="Class for all selected images" placeholder="Class"><datalist id="map-classes"></datalist>
<button class="cpc-button">Label all</button></form>
<button type="button" class="cpc-button" data-do="none">Select nothing</button></div></div>
<div class="cpc-grid" data-part="grid"></div><p class="cpc-more" data-part="more" hidden>
<button type="button" class="cpc-button" data-do="more">Show more</button></p></section></div></div>
"""


class MapTab:
    """Adds the tab to the current `gr.Blocks`. Its script asks the addresses of `routes.py` for all that it shows."""

    def __init__(self, context: Context) -> None:
        gr.HTML(FRAME, js_on_load=scripts.start("map/map.js"), apply_default_css=False, elem_id="map-tab")
