// The grid by keyboard: arrows go from image to image; s, + and - search with the image or refine by it.

const STEPS = {ArrowLeft: -1, ArrowRight: 1};
const ACTS = {s: "search", "+": "plus", "=": "plus", "-": "minus"};

const tiles = (grid) => [...grid.querySelectorAll(".cpc-cell:not([hidden]) > .cpc-tile")];

/** One image at a time takes part in the order of Tab; the arrows choose which. */
export function rove(grid, chosen) {
    const now = chosen ?? grid.querySelector('.cpc-tile[tabindex="0"]') ?? grid.querySelector(".cpc-tile");
    grid.querySelectorAll(".cpc-tile").forEach((tile) => { tile.tabIndex = tile === now ? 0 : -1; });
}

export function listen(grid) {
    grid.addEventListener("focusin", (event) => {
        if (event.target.matches(".cpc-tile")) rove(grid, event.target);
    });
    grid.addEventListener("keydown", (event) => {
        if (!event.target.matches(".cpc-tile") || event.ctrlKey || event.metaKey || event.altKey) return;
        const act = ACTS[event.key];
        const next = act ? null : goal(tiles(grid), event.target, event.key);
        if (act) event.target.closest(".cpc-cell").querySelector(`[data-small=${act}]`).click();
        if (next) next.focus();
        if (act || next) event.preventDefault();
    });
}

function goal(all, now, key) {
    const place = all.indexOf(now);
    if (key in STEPS) return all[place + STEPS[key]];
    if (key === "Home") return all[0];
    if (key === "End") return all.at(-1);
    if (key !== "ArrowUp" && key !== "ArrowDown") return null;
    const first = all[0].getBoundingClientRect().top;
    const columns = all.findIndex((tile) => tile.getBoundingClientRect().top > first + 10);
    if (columns < 1) return null;
    return key === "ArrowDown" ? all[Math.min(place + columns, all.length - 1)] : all[place - columns];
}
