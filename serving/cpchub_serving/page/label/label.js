// Labels by click and by key, drawn at once: the server's answer follows. It runs on a hidden element, whose text holds
// what the tiles say as JSON; what the visitor says goes through Gradio's `trigger`.
//
// window.cpchubLabels is for the other tabs: classes(): [{name, colour}], of(row): the class of a row or null (of the
// newest labels), set(row, name), and say(rows, name), which labels many rows as one step to undo; null takes a label
// away. The event cpc-labels says that labels changed.

const board = () => document.getElementById("label-board");
const panel = () => document.getElementById("class-panel");
const tiles = () => [...(board()?.querySelectorAll(".cpc-tile") ?? [])]; // none before the tab is first opened
const tileOf = (row) => board()?.querySelector(`.cpc-tile[data-arg="${row}"]`);
const rowOf = (tile) => Number(tile.dataset.arg);
const unsureButton = (tile) => tile.parentElement.querySelector("[data-unsure]");
const KEYS = "1234567890";
let element = null;
let trigger = null;
let state = {classes: [], active: null, tiles: {}, given: {}, heard: 0, palette: 1};
let sent = 0;
let chosen = null; // the class that was made active here, until the server has heard of it
const waiting = new Map(); // row -> number of the message that says something of it and is not answered yet

const span = (className, text) => {
    const made = document.createElement("span");
    made.className = className;
    made.textContent = text;
    return made;
};

const draw = (tile, facts) => {
    tile.className = "cpc-tile" + (facts.colour === null ? "" : ` cpc-c${facts.colour}`);
    tile.classList.toggle("cpc-labelled", facts.labelled);
    tile.classList.toggle("cpc-skipped", facts.skipped);
    tile.classList.toggle("cpc-saving", waiting.has(rowOf(tile)));
    tile.querySelectorAll(".cpc-caption, .cpc-meter").forEach((old) => old.remove());
    const name = tile.querySelector(".cpc-name");
    if (facts.said.length) {
        const caption = span("cpc-caption", "");
        facts.said.forEach((text) => caption.append(span("", text)));
        name.before(caption);
    }
    if (facts.meter !== null) {
        const meter = span("cpc-meter", "");
        meter.append(document.createElement("i"));
        meter.firstChild.style.width = `${Math.round(100 * facts.meter)}%`;
        name.before(meter);
    }
    unsureButton(tile)?.setAttribute("aria-pressed", String(facts.skipped));
    tile.setAttribute("aria-label", [`Label ${tile.title}`, ...facts.said].join(", "));
};

// -- what the visitor says

const say = (rows, said) => {
    sent += 1;
    const colour = said ? state.classes.indexOf(said) % state.palette : null;
    rows.forEach((row) => {
        const tile = tileOf(row);
        waiting.set(row, sent);
        if (said === undefined) return;
        if (said) state.given[row] = said; else delete state.given[row];
        if (!tile) return;
        state.tiles[row] = {said: said === null ? [] : [said || "unsure"], meter: null, labelled: Boolean(said),
            skipped: said === "", colour: colour === null || colour < 0 ? null : colour};
        draw(tile, state.tiles[row]);
    });
    document.dispatchEvent(new Event("cpc-labels"));
    trigger("say", {arg: JSON.stringify({number: sent, rows, ...(said === undefined ? {} : {said})})});
};

const click = (tile) => {
    const facts = state.tiles[rowOf(tile)];
    if (!state.active) return say([rowOf(tile)], undefined); // the server says that a class is needed
    const has = facts && facts.labelled && tile.querySelector(".cpc-caption > span")?.textContent === state.active;
    say([rowOf(tile)], has ? null : state.active);
};

const skip = (tile) => say([rowOf(tile)], state.tiles[rowOf(tile)]?.skipped ? null : "");

const activate = (name) => {
    state.active = chosen = name;
    panel().querySelectorAll("[data-act=activate]").forEach((button) =>
        button.setAttribute("aria-pressed", String(button.dataset.arg === name)));
    showActive();
};

// The list of classes may be longer than its place; the active one stays in sight, for the next click gives it.
const showActive = () => {
    const active = panel()?.querySelector("[aria-pressed=true]"), list = active?.closest("ul");
    if (!list) return;
    const [box, around] = [active, list].map((each) => each.getBoundingClientRect());
    list.scrollTop += Math.min(0, box.top - around.top) + Math.max(0, box.bottom - around.bottom);
};

// -- what the server says

const hear = () => {
    if (!element.textContent.trim()) return;
    const heard = JSON.parse(element.textContent);
    for (const [row, number] of waiting) if (number <= heard.heard) waiting.delete(row);
    for (const row of waiting.keys()) {
        if (state.tiles[row]) heard.tiles[row] = state.tiles[row];
        if (state.given[row]) heard.given[row] = state.given[row]; else delete heard.given[row];
    }
    if (heard.active === chosen || !heard.classes.includes(chosen)) chosen = null;
    state = {...heard, active: chosen ?? heard.active};
    localStorage.setItem("cpchub-label-set " + location.pathname, state.set);
    document.dispatchEvent(new Event("cpc-labels"));
    requestAnimationFrame(showActive); // once the list is drawn anew
    if (!board()) return;
    tiles().forEach((tile) => state.tiles[rowOf(tile)] && draw(tile, state.tiles[rowOf(tile)]));
    const advice = board().querySelector(".cpc-heading p");
    if (advice) advice.textContent = state.advice;
};

// -- keys

const shown = () => board()?.offsetParent && !document.querySelector("dialog[open]");
const typing = (target) => target.closest("input, textarea, select, [contenteditable], [role=listbox], [role=slider]");
const focus = (tile) => tile?.focus({preventScroll: false});

const move = (key) => {
    const all = tiles(), at = all.indexOf(document.activeElement);
    if (at < 0) return focus(all[0]);
    const top = (tile) => tile.getBoundingClientRect().top;
    const wide = all.filter((tile) => top(tile) === top(all[0])).length;
    const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -wide, ArrowDown: wide}[key];
    focus(all[at + step] ?? all[at]);
};

const goOn = (tile) => focus(tiles()[tiles().indexOf(tile) + 1]);

const turn = (name) => {
    const button = [...board().querySelectorAll("[data-act=turn]")].find((each) => each.textContent === name);
    if (!button || button.disabled) return;
    button.click();
    focus(tiles()[0]);
};

const pressed = (event) => {
    if (!shown() || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const tile = document.activeElement.closest("#label-board .cpc-tile");
    const number = KEYS.indexOf(event.key);
    if (number >= 0 && number < state.classes.length && event.key.length === 1) {
        const name = state.classes[number];
        if (tile) { say([rowOf(tile)], name); goOn(tile); }
        else panel().querySelectorAll("[data-act=activate]")[number]?.click();
    } else if (event.key.startsWith("Arrow")) {
        if (document.activeElement.closest("[role=tablist]")) return;
        move(event.key);
    } else if (event.key === "x" && tile) { skip(tile); goOn(tile); }
    else if (event.key === "u") document.getElementById("undo").click();
    else if (event.key === "r") document.getElementById("redo").click();
    else if (event.key === "n") turn("Next");
    else if (event.key === "p") turn("Previous");
    else if (event.key === "l" && tile) tile.parentElement.querySelector("[data-large]").click();
    else if (event.key === "?") document.getElementById("label-keys").showModal();
    else return;
    event.preventDefault();
};

const clicked = (event) => {
    const tile = event.target.closest("#label-board .cpc-tile");
    if (tile) click(tile);
    const unsure = event.target.closest("#label-board [data-unsure]");
    if (unsure) skip(unsure.closest(".cpc-cell").querySelector(".cpc-tile"));
    const button = event.target.closest("#class-panel [data-act=activate]");
    if (button) activate(button.dataset.arg);
    if (event.target.closest("[data-keys]")) document.getElementById("label-keys").showModal();
    if (event.target.closest("#label-keys [data-close]")) document.getElementById("label-keys").close();
};

// Gradio changes the address of an image that is there already; until the new one has come, the old one would be seen
// under another name.
const exchanged = (changes) => changes.forEach(({target}) => {
    if (!target.matches(".cpc-frame img") || target.complete) return;
    target.style.visibility = "hidden";
    const show = () => { target.style.visibility = ""; };
    target.addEventListener("load", show, {once: true});
    target.addEventListener("error", show, {once: true});
});

export function start(wire, gradiosTrigger) {
    [element, trigger] = [wire, gradiosTrigger];
    document.addEventListener("keydown", pressed);
    document.addEventListener("click", clicked);
    new MutationObserver(exchanged).observe(document.body, {attributes: true, attributeFilter: ["src"], subtree: true});
    new MutationObserver(hear).observe(element, {childList: true, characterData: true, subtree: true});
    window.cpchubLabels = {
        classes: () => state.classes.map((name, number) => ({name, colour: number % state.palette})),
        of: (row) => state.given[row] ?? null,
        set: (row, name) => say([row], name),
        say,
    };
    hear();
}
