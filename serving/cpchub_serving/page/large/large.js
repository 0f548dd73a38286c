// The large view: opened by a click on any element with data-large, or by the event cpc-large {row, rows}.
//
// window.cpchubLabels, which the tab Label sets, gives the classes: {classes(): [{name, colour}], of(row), set(row, name)};
// the event cpc-labels says that they changed.

import {listen as listenToImages} from "../style/tiles.js";

const KEYS = {ArrowLeft: "previous", ArrowRight: "next", z: "zoom", s: "search", "+": "plus", "=": "plus", "-": "minus"};
const ZOOMS = ["1", "2", "4"];
const NEAR_THE_END = 6; // images; then more are asked for

export function start(root) {
    listenToImages();
    new Large(root.querySelector("dialog")).listen();
}

class Large {
    constructor(dialog) {
        this.dialog = dialog;
        this.part = (selector) => dialog.querySelector(selector);
        this.facts = new Map(); // by row, as promises
        this.row = null;
    }

    listen() {
        document.addEventListener("click", (event) => {
            const source = event.target.closest("[data-large]");
            if (source) this.open(Number(source.dataset.large), source.closest(".cpc-grid"));
        });
        document.addEventListener("cpc-large", ({detail}) => this.open(detail.row, null, detail.rows));
        document.addEventListener("cpc-labels", () => this.dialog.open && this.drawLabels());
        this.dialog.addEventListener("click", (event) => {
            if (event.target === this.dialog) return this.dialog.close(); // beside it
            const button = event.target.closest("[data-go]");
            if (button) this.does(button.dataset.go);
            const label = event.target.closest("[data-class]");
            if (label) this.label(label.dataset.class);
        });
        this.dialog.addEventListener("keydown", (event) => this.key(event));
        this.dialog.addEventListener("close", () => this.giveFocusBack());
        this.part(".cpc-zoom").addEventListener("click", (event) => this.zoom(event));
        const image = this.part(".cpc-zoom img");
        image.addEventListener("error", () => this.isGone(true));
        image.addEventListener("load", () => this.isGone(false));
    }

    isGone(gone) {
        this.part(".cpc-zoom img").hidden = gone;
        this.part(".cpc-gone").hidden = !gone;
    }

    /** The rows that the arrows go through: those of the grid as it is now, for it may have grown. */
    rows() {
        if (!this.grid) return this.given;
        const shown = [...this.grid.querySelectorAll("[data-large]")].filter((each) => !each.closest("[hidden]"));
        return shown.map((each) => Number(each.dataset.large));
    }

    open(row, grid, rows) {
        if (!this.dialog.open) {
            this.cameFrom = document.activeElement;
            this.grid = this.given = null;
        }
        if (!this.dialog.contains(grid)) { // a neighbour in the view itself leaves the arrows where they are
            this.grid = grid;
            this.given = rows ?? [row];
        }
        if (!this.dialog.open) this.dialog.showModal();
        this.show(row);
    }

    async show(row) {
        this.row = row;
        const image = this.part(".cpc-zoom img");
        this.part(".cpc-zoom").dataset.zoom = ZOOMS[0];
        const rows = this.rows(), place = rows.indexOf(row);
        this.part("#cpc-large-place").textContent = place < 0 ? "" : `${place + 1} of ${rows.length}`;
        this.part("[data-go=previous]").disabled = place <= 0 && rows.length < 2;
        this.part("[data-go=next]").disabled = place === rows.length - 1;
        this.part("[data-go=previous]").disabled = place === 0;
        if (place > rows.length - NEAR_THE_END) this.grid?.dispatchEvent(new Event("cpc-more"));
        this.drawLabels();
        const found = await this.ask(row).catch(() => null);
        if (this.row !== row) return; // gone on meanwhile
        this.part("#cpc-large-path").textContent = found ? found.path : "The server of this page does not answer.";
        if (!found) return;
        this.found = found;
        image.src = new URL(found.image, document.baseURI);
        image.alt = found.path;
        this.part(".cpc-large-facts").innerHTML = found.facts;
        this.part(".cpc-large-near").innerHTML = found.neighbours;
        const coming = rows[place + 1];
        if (place >= 0 && coming !== undefined)
            this.ask(coming).then((next) => { new Image().src = new URL(next.image, document.baseURI); }, () => null);
    }

    ask(row) {
        if (!this.facts.has(row)) {
            if (this.facts.size > 200) this.facts.clear();
            const asked = fetch(new URL(`page/large/${row}`, document.baseURI)).then((answer) => {
                if (!answer.ok) throw new Error(String(answer.status));
                return answer.json();
            });
            asked.catch(() => this.facts.delete(row));
            this.facts.set(row, asked);
        }
        return this.facts.get(row);
    }

    key(event) {
        if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
        const act = KEYS[event.key];
        const label = this.dialog.querySelectorAll("[data-class]")[Number(event.key) - 1];
        if (act) this.does(act);
        else if (label && /^[1-9]$/.test(event.key)) this.label(label.dataset.class);
        else return;
        event.preventDefault();
    }

    does(act) {
        if (act === "close") return this.dialog.close();
        if (act === "zoom") return this.zoom();
        if (act === "previous" || act === "next") {
            const rows = this.rows(), place = rows.indexOf(this.row);
            const goal = place < 0 ? rows[0] : rows[place + (act === "next" ? 1 : -1)];
            if (goal !== undefined) this.show(goal);
            return;
        }
        if (!this.found) return;
        const {id} = this.found;
        this.dialog.close();
        document.dispatchEvent(act === "search" ? new CustomEvent("cpc-search", {detail: {id}})
            : new CustomEvent("cpc-refine", {detail: {id, sign: act === "plus" ? 1 : -1}}));
    }

    /** Twice as large, four times, and back; around the point that was clicked. The part that is seen is scrolled. */
    zoom(event) {
        const frame = this.part(".cpc-zoom");
        const box = frame.getBoundingClientRect();
        const x = event ? (event.clientX - box.left + frame.scrollLeft) / frame.scrollWidth : 0.5;
        const y = event ? (event.clientY - box.top + frame.scrollTop) / frame.scrollHeight : 0.5;
        frame.dataset.zoom = ZOOMS[(ZOOMS.indexOf(frame.dataset.zoom) + 1) % ZOOMS.length];
        frame.scrollLeft = x * frame.scrollWidth - box.width / 2;
        frame.scrollTop = y * frame.scrollHeight - box.height / 2;
    }

    drawLabels() {
        const place = this.part("#cpc-large-labels");
        const classes = window.cpchubLabels?.classes() ?? [];
        place.hidden = !classes.length;
        const now = classes.length ? window.cpchubLabels.of(this.row) : null;
        place.replaceChildren("Label as ", ...classes.map(({name, colour}, number) => {
            const button = Object.assign(document.createElement("button"), {type: "button", textContent: name});
            button.className = `cpc-button cpc-label cpc-c${colour % 10}`;
            button.dataset.class = name;
            button.setAttribute("aria-pressed", String(name === now));
            if (number < 9) button.title = `Key ${number + 1}`;
            return button;
        }));
    }

    label(name) {
        const now = window.cpchubLabels.of(this.row);
        window.cpchubLabels.set(this.row, name === now ? null : name);
    }

    giveFocusBack() {
        const tile = this.grid?.querySelector(`[data-large="${this.row}"]`);
        (tile ?? this.cameFrom)?.focus();
    }
}
