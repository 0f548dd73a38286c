// The map of a collection: fetches its points, draws them, shows the image under the pointer, and selects.

import {drawLegend, shades} from "./colours.js";
import {Nearby} from "./nearby.js";
import {pointsOn} from "./points.js";
import {View, listen} from "./view.js";

const ASK_AGAIN = 1000; // ms between two looks at how far the map is
const REACH = 10; // CSS pixels from the pointer to a point
const TILES = 48; // images that the grid shows more
const SLOW = 30; // ms between two frames, above which fewer points are drawn while the view moves
const STILL = 200; // ms without a move, after which all points are drawn

export function start(root) {
    new Plane(root).listen();
}

const get = async (path) => {
    const answer = await fetch(new URL(`page/map/${path}`, document.baseURI));
    if (!answer.ok) throw new Error((await answer.json().catch(() => null))?.error?.message ?? `status ${answer.status}`);
    return answer;
};

class Plane {
    constructor(root) {
        this.root = root;
        this.part = (name) => root.querySelector(`[data-part=${name}]`);
        this.canvas = this.part("canvas");
        this.view = new View();
        this.tool = "move";
        this.lit = null; // the place of an entry of the legend
        this.chosen = null; // a Set of rows
        this.known = new Map(); // row -> {name, image, html}, as promises
        this.share = 1; // of the points that are drawn while the view moves
    }

    listen() {
        new ResizeObserver(() => this.resize()).observe(this.part("stage"));
        new MutationObserver(() => this.recolour()).observe(document.body, {attributeFilter: ["class"]});
        this.root.addEventListener("click", ({target}) => {
            const button = target.closest("button");
            if (button?.dataset.tool) this.take(button.dataset.tool);
            if (button?.dataset.code) this.light(Number(button.dataset.code));
            if (button?.dataset.do) this[button.dataset.do]();
        });
        this.part("by").addEventListener("change", ({target}) => this.colourBy(target.value));
        this.part("say").addEventListener("submit", (event) => {
            event.preventDefault();
            this.say(event.target.querySelector("input").value);
        });
        document.addEventListener("cpc-labels", () => this.colourAgain());
        this.root.addEventListener("cpc-more", () => this.more());
        listen(this.canvas, this.view, () => this.tool, {
            moved: () => this.move(),
            clicked: (left, top) => this.open(this.under(left, top)),
            hovered: (left, top) => this.point(this.under(left, top)),
            left: () => this.point(-1),
            drawing: (line) => this.part("line").setAttribute("points", (line ?? []).join(" ")),
            drawn: (line) => this.choose(this.nearby?.inside(line.map((pixel) => this.view.place(...pixel)))),
            chooses: () => this.seen(),
            leaves: () => this.none(),
            fit: () => this.fit(),
        });
    }

    // -- what is fetched ------------------------------------------------------------------------------------------

    /** Asks how far the map is, until it is made; the first points are drawn as soon as there are some. */
    async follow() {
        let state;
        try {
            state = await (await get("state")).json();
            if (state.version && state.version !== this.version) await this.load(state);
        } catch (error) {
            state = {state: "failed", error: `The map cannot be drawn: ${error.message}`, note: ""};
        }
        const busy = state.state === "running" || state.state === "waiting";
        this.part("note").textContent = state.error || state.note;
        this.part("progress").hidden = !busy;
        this.part("what").textContent = busy ? `${state.what}, ${Math.round(100 * state.share)} %` : "";
        this.part("share").value = state.share ?? 0;
        if (busy) setTimeout(() => this.follow(), ASK_AGAIN);
    }

    async load(state) {
        const places = new Uint16Array(await (await get("points")).arrayBuffer());
        if (!this.order) {
            this.order = shuffled(state.count); // else the last class would lie on top of all others
            this.part("by").replaceChildren(...state.colourings.map(([key, name]) => new Option(name, key)));
            await this.colourBy(state.colourings[0][0]);
        }
        this.version = state.version;
        this.places = places;
        this.nearby = new Nearby(places);
        const drawn = new Uint16Array(places.length);
        this.order.forEach((i, place) => drawn.set([places[2 * i], places[2 * i + 1]], 2 * place));
        this.points ??= pointsOn(this.canvas);
        this.points.place(drawn);
        this.root.dataset.drawn = `${this.points.kind} ${state.version}`;
        this.recolour();
        this.fit();
    }

    async colourBy(key) {
        if (this.by !== key) this.lit = null;
        this.by = key;
        const set = localStorage.getItem(`cpchub-label-set ${location.pathname}`) ?? ""; // as the tab Label keeps it
        let content;
        try {
            content = await (await get(`colours?${new URLSearchParams({by: key, set})}`)).arrayBuffer();
        } catch (error) {
            this.part("note").textContent = `It cannot be coloured by this: ${error.message}`;
            return;
        }
        if (this.by !== key) return; // another was chosen meanwhile
        const length = new DataView(content).getUint32(0, true);
        const legend = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, length)));
        this.coloured = {...legend, codes: new Uint16Array(content, 4 + length)};
        this.recolour();
    }

    /** What labels say may have changed since. */
    colourAgain() {
        if (this.by === "labels" || this.by === "predictions") this.colourBy(this.by);
    }

    /** Facts of images, fetched once. */
    tiles(rows) {
        const missing = rows.filter((row) => !this.known.has(row));
        if (missing.length) {
            const found = get(`tiles?rows=${missing}`).then((answer) => answer.json());
            missing.forEach((row, place) => this.known.set(row, found.then((all) => all[place])));
            found.catch(() => missing.forEach((row) => this.known.delete(row)));
        }
        return Promise.all(rows.map((row) => this.known.get(row)));
    }

    // -- what is drawn --------------------------------------------------------------------------------------------

    resize() {
        const {clientWidth: width, clientHeight: height} = this.part("stage");
        if (!width) return; // of a tab that is not shown
        const first = this.view.width === 1, sharp = window.devicePixelRatio;
        this.view.resize(width, height);
        [this.canvas.width, this.canvas.height] = [Math.round(width * sharp), Math.round(height * sharp)];
        if (first) this.follow();
        else this.colourAgain();
        this.draw();
    }

    draw() {
        this.wanted ??= requestAnimationFrame(() => {
            this.wanted = null;
            if (!this.points) return;
            const sharp = window.devicePixelRatio, {x, y, scale, zoom, width, height} = this.view;
            const roomy = 0.45 * Math.sqrt(width * height / Math.max(1, this.order.length));
            const size = Math.min(12, Math.max(2.2, Math.min(roomy, 7)) * zoom ** 0.3);
            this.points.draw({x, y, scale: scale * sharp}, size * sharp, this.fluent());
            if (this.pointed >= 0) this.putTip();
        });
    }

    /** The view moves: as many points are drawn as this machine can; they are mixed, so any part of them shows all. */
    move() {
        clearTimeout(this.moving);
        this.moving = setTimeout(() => { this.moving = null; this.draw(); }, STILL);
        this.draw();
    }

    /** The share of the points for this frame, by how long the last one took. */
    fluent() {
        const now = performance.now(), took = now - this.drawn;
        this.drawn = now;
        if (!this.moving) return 1;
        if (took < STILL) this.share = Math.min(1, Math.max(0.1, this.share * (took > SLOW ? 0.8 : 1.1)));
        this.root.dataset.share = this.share.toFixed(2);
        return this.share;
    }

    recolour() {
        if (!this.coloured) return;
        const {lit, chosen} = this;
        const shown = chosen ? (i) => chosen.has(i) : lit === null ? () => true : (i, code) => code === lit;
        this.points?.colour(shades(this.root, this.coloured, this.order, shown));
        drawLegend(this.part("legend"), this.coloured, lit);
        this.draw();
    }

    // -- what is under the pointer --------------------------------------------------------------------------------

    under(left, top) { return this.nearby?.nearest(...this.view.place(left, top), REACH / this.view.scale) ?? -1; }

    async point(row) {
        if (row === this.pointed) return;
        this.pointed = row;
        this.canvas.style.cursor = row < 0 ? "" : "pointer";
        const tip = this.part("tip");
        tip.hidden = this.part("ring").hidden = row < 0;
        if (row < 0) return;
        tip.replaceChildren();
        this.putTip();
        const [{name, image}] = await this.tiles([row]).catch(() => [{name: "", image: ""}]);
        if (this.pointed !== row) return;
        const text = Object.assign(document.createElement("span"), {textContent: name.split("/").at(-1)});
        const shown = Object.assign(document.createElement("img"), {src: new URL(image, document.baseURI), alt: ""});
        shown.addEventListener("error", () => shown.remove()); // gone, or not readable any more
        tip.replaceChildren(shown, text, ...this.words(row));
        this.putTip();
    }

    /** What the image is coloured by. */
    words(row) {
        const entry = this.coloured.entries[this.coloured.codes[row]];
        return entry ? [Object.assign(document.createElement("b"), {textContent: entry.name})] : [];
    }

    putTip() {
        const [left, top] = this.view.pixel(this.places[2 * this.pointed], this.places[2 * this.pointed + 1]);
        const tip = this.part("tip"), ring = this.part("ring");
        ring.style.translate = `${left}px ${top}px`;
        const x = left + 16 + tip.offsetWidth > this.view.width ? left - 16 - tip.offsetWidth : left + 16;
        const y = Math.min(this.view.height - tip.offsetHeight - 8, Math.max(8, top - tip.offsetHeight / 2));
        tip.style.translate = `${Math.max(4, x)}px ${y}px`;
    }

    open(row) {
        if (row < 0) return;
        const rows = this.chosen?.has(row) ? [...this.chosen] : [row];
        document.dispatchEvent(new CustomEvent("cpc-large", {detail: {row, rows}}));
    }

    // -- what is selected -----------------------------------------------------------------------------------------

    choose(rows) {
        this.chosen = rows?.length ? new Set(rows) : null;
        this.lit = null;
        this.recolour();
        this.part("chosen").hidden = !this.chosen;
        this.part("grid").replaceChildren();
        this.part("said").textContent = "Click an image to see it large.";
        this.part("say").hidden = !window.cpchubLabels;
        const classes = window.cpchubLabels?.classes() ?? [];
        this.root.querySelector("datalist").replaceChildren(...classes.map((each) => new Option(each.name ?? each)));
        this.part("count").textContent = this.chosen
            ? `${this.chosen.size.toLocaleString("en")} image${this.chosen.size === 1 ? "" : "s"} selected` : "";
        return this.chosen && this.more();
    }

    async more() {
        const grid = this.part("grid"), {chosen} = this, rows = [...chosen], shown = grid.children.length;
        const found = await this.tiles(rows.slice(shown, shown + TILES));
        if (this.chosen !== chosen || grid.children.length !== shown) return;
        grid.insertAdjacentHTML("beforeend", found.map(({html}) => html).join(""));
        this.part("more").hidden = grid.children.length >= rows.length;
    }

    seen() {
        const {view} = this, [left, top] = view.place(0, 0), [right, bottom] = view.place(view.width, view.height), rows = [];
        this.nearby?.within(left, bottom, right, top, (i) => rows.push(i));
        this.choose(rows.sort((a, b) => a - b));
    }

    none() { this.choose(null); }

    /** Labels all that is selected, in one step that the tab Label can undo. */
    say(text) {
        const name = text.trim().replace(/\s+/g, " "), rows = [...this.chosen];
        if (!name) return;
        window.cpchubLabels.say(rows, name);
        this.part("said").textContent = `${rows.length.toLocaleString("en")} labelled as “${name}”; Undo is in the tab Label.`;
        setTimeout(() => this.colourAgain(), ASK_AGAIN);
    }

    light(code) {
        const lit = this.lit === code ? null : code;
        if (this.chosen) this.none();
        this.lit = lit;
        this.recolour();
        this.part("legend").querySelector(`[data-code="${code}"]`)?.focus(); // drawn anew
    }

    take(tool) {
        this.tool = tool;
        this.root.querySelectorAll("[data-tool]").forEach((button) => {
            button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
        });
        this.part("stage").dataset.draws = tool !== "move";
    }

    fit() {
        if (this.places) this.view.fit(this.places);
        this.draw();
    }

    closer() { this.zoom(1.6); }

    farther() { this.zoom(1 / 1.6); }

    zoom(times) {
        this.view.zoomAt(this.view.width / 2, this.view.height / 2, times);
        this.draw();
    }
}

/** The numbers below `count`, mixed, and the same ones each time. */
function shuffled(count) {
    const order = Uint32Array.from({length: count}, (_, i) => i);
    let seed = 1;
    for (let i = count - 1; i > 0; i--) {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        const j = seed % (i + 1);
        [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
}
