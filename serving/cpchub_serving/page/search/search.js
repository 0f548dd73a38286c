// The Search tab. The query is in the page's address; the server answers it with HTML, page by page.

import * as address from "./address.js";
import * as images from "./images.js";
import * as keys from "./keys.js";
import {address as link, ask} from "./server.js";

const AHEAD = "1200px 0px"; // how far below the window the next results are fetched
const MOST_AT_ONCE = 480; // as routes.py has it

export function start(root) {
    const part = Object.fromEntries([...root.querySelectorAll("[id]")].map((element) => [element.id, element]));
    new Search(part).begin();
}

class Search {
    constructor(part) {
        this.part = part;
        this.shown = address.nothing;
        this.facetsOf = null; // the filter that the facets on the page are of
        this.next = null; // where the next results start
        this.asking = new AbortController();
    }

    begin() {
        this.listenToBar();
        this.listenToFilters();
        this.listenToResults();
        addEventListener("popstate", (event) => this.show(address.read(location.search), event.state?.cpc));
        document.addEventListener("cpc-search", ({detail}) => this.searchWith(`id:${detail.id}`));
        document.addEventListener("cpc-refine", ({detail}) => this.refine(`id:${detail.id}`, detail.sign));
        const seen = new IntersectionObserver((entries) => entries[0].isIntersecting && this.more(), {rootMargin: AHEAD});
        this.watchEnd = () => {
            seen.unobserve(this.part["results-end"]);
            if (this.next !== null) seen.observe(this.part["results-end"]);
        };
        history.scrollRestoration = "manual"; // what is restored has to be fetched first
        addEventListener("pagehide", () => history.replaceState({...history.state, cpc: this.place()}, ""));
        this.show(address.read(location.search), history.state?.cpc);
    }

    // -- where one goes ---------------------------------------------------------------------------------------------

    /** Another query, as a new step of the browser's history. */
    async go(query) {
        const before = this.place();
        if (await this.show(query)) {
            history.replaceState({...history.state, cpc: before}, "");
            history.pushState({}, "", address.withQuery(query));
            if (scrollY > this.part.search.offsetTop) this.part.search.scrollIntoView();
        }
    }

    place() {
        return {count: this.part.results.querySelectorAll(".cpc-cell:not([data-under])").length, top: scrollY};
    }

    searchWith(q) {
        showTab();
        return this.go({...this.shown, q, plus: [], minus: []});
    }

    refine(what, sign) {
        showTab();
        return this.go(address.refined(this.shown, what, sign));
    }

    /** Fetch and draw a query; whether it could be. `place`: what was on the page when it was left. */
    async show(query, place) {
        this.asking.abort();
        this.asking = new AbortController();
        this.part.results.setAttribute("aria-busy", "true");
        const fields = [address.write(query), `count=${Math.min(Math.max(place?.count ?? 0, 48), MOST_AT_ONCE)}`];
        if (this.facetsOf !== query.where) fields.push("facets_too=1");
        try {
            const found = await ask("results", fields.filter(Boolean).join("&"), {signal: this.asking.signal});
            this.draw(query, found);
            if (place) scrollTo(0, place.top);
            return true;
        } catch (error) {
            if (error.name === "AbortError") return false;
            this.part.results.setAttribute("aria-busy", "false");
            this.say(error.message, query.where !== this.shown.where ? "where-said" : "search-said");
            if (this.facetsOf === null) this.show(address.nothing); // a link that cannot be followed
            return false;
        }
    }

    draw(query, found) {
        const {part} = this;
        if (this.facetsOf !== null) this.say("");
        this.shown = query;
        part["results-heading"].innerHTML = found.heading;
        part.results.innerHTML = found.tiles;
        part.results.setAttribute("aria-busy", "false");
        part.query.innerHTML = found.query;
        part["search-status"].innerHTML = found.status;
        part["search-clear"].hidden = !found.query;
        part["search-text"].value = "";
        if (found.facets !== undefined) {
            const open = [...part.facets.querySelectorAll("details[open]")].map((each) => each.parentElement.dataset.column);
            part.facets.innerHTML = found.facets;
            part.facets.querySelectorAll("details").forEach((each) => {
                each.open ||= open.includes(each.parentElement.dataset.column);
            });
            this.facetsOf = query.where;
        }
        part.where.value = query.where;
        part["where-clear"].hidden = !query.where;
        for (const each of part["results-heading"].querySelectorAll("[data-download]"))
            each.href = link(each.dataset.download, address.write(query));
        this.next = found.next;
        this.watchEnd();
        keys.rove(part.results);
    }

    /** The next results, below those that are there. */
    async more() {
        if (this.next === null || this.fetching) return;
        const {asking} = this;
        this.fetching = true;
        try {
            const fields = [address.write(this.shown), `start=${this.next}`].filter(Boolean).join("&");
            const found = await ask("results", fields, {signal: asking.signal});
            if (asking !== this.asking) return;
            this.part.results.insertAdjacentHTML("beforeend", found.tiles);
            this.next = found.next;
            keys.rove(this.part.results);
        } catch (error) {
            if (error.name === "AbortError") return;
            this.next = null;
            this.say(error.message);
        } finally {
            this.fetching = false;
            this.watchEnd();
        }
    }

    say(words, where = "search-said", offers = []) {
        for (const name of ["search-said", "where-said"]) this.part[name].textContent = name === where ? words : "";
        for (const path of offers) {
            const button = document.createElement("button");
            Object.assign(button, {type: "button", className: "cpc-offer", textContent: path});
            button.addEventListener("click", () => this.find(path));
            this.part[where].append(button);
        }
    }

    // -- what one clicks and types ----------------------------------------------------------------------------------

    listenToBar() {
        const {part} = this;
        const text = part["search-text"];
        images.listen(part.search, part["search-file"], {
            begun: () => this.say("Reading the image …"),
            found: (q) => this.searchWith(q),
            refused: (words) => this.say(words),
        });
        part["search-choose"].addEventListener("click", () => part["search-file"].click());
        part["search-bar"].addEventListener("submit", (event) => {
            event.preventDefault();
            if (text.value.trim()) this.find(text.value);
        });
        text.addEventListener("input", () => this.offer(text.value));
        part["search-clear"].addEventListener("click", () => this.go({...this.shown, q: "", plus: [], minus: []}));
        part.query.addEventListener("click", (event) => {
            const button = event.target.closest("[data-remove]");
            if (button) this.go(address.without(this.shown, Number(button.dataset.remove)));
        });
        part.query.addEventListener("change", (event) => {
            const {dataset, value} = event.target;
            this.go(address.weighted(this.shown, Number(dataset.weight), Number(value)));
        });
        document.addEventListener("keydown", (event) => {
            if (event.key !== "/" || event.target.closest("input, textarea, select, dialog") || !text.offsetParent) return;
            event.preventDefault();
            text.focus();
        });
    }

    async offer(typed) {
        if (!typed.trim()) return;
        const paths = await ask("offer", `text=${encodeURIComponent(typed)}`).catch(() => []);
        if (typed !== this.part["search-text"].value) return; // typed on meanwhile
        if (paths.includes(typed)) this.find(typed); // chosen from the list
        const options = paths.map((path) => Object.assign(document.createElement("option"), {value: path}));
        this.part["search-offers"].replaceChildren(...options);
    }

    async find(typed) {
        try {
            const found = await ask("find", `text=${encodeURIComponent(typed)}`);
            if (found.q) await this.searchWith(found.q);
            else this.say(found.said, "search-said", found.nearest);
        } catch (error) {
            this.say(error.message);
        }
    }

    listenToFilters() {
        const {part} = this;
        const filter = (where) => this.go({...this.shown, where});
        if (innerWidth <= 760) part.filters.open = false;
        part["where-form"].addEventListener("submit", (event) => {
            event.preventDefault();
            filter(part.where.value.trim());
        });
        part.where.addEventListener("keydown", (event) => {
            if (event.key !== "Enter") return;
            event.preventDefault();
            part["where-form"].requestSubmit();
        });
        part["where-clear"].addEventListener("click", () => filter(""));
        part.facets.addEventListener("click", (event) => {
            const value = event.target.closest("[data-where]");
            if (value) this.keepFocus(value, () => filter(value.dataset.where));
        });
        part.facets.addEventListener("change", async (event) => {
            const {column} = event.target.closest("[data-column]").dataset;
            const ends = [...part.facets.querySelectorAll(`[data-column="${CSS.escape(column)}"] input`)];
            const fields = new URLSearchParams({column, where: this.shown.where});
            ends.filter((each) => each.value !== "").forEach((each) => fields.set(each.dataset.end, each.value));
            try {
                filter((await ask("narrow", fields)).where);
            } catch (error) {
                this.say(error.message, "where-said");
            }
        });
    }

    /** The facets are drawn anew by a click on them: the same value keeps the focus. */
    async keepFocus(value, change) {
        const {column} = value.closest("[data-column]").dataset;
        const shown = value.dataset.value;
        await change();
        const again = [...this.part.facets.querySelectorAll(".cpc-value")].find(
            (each) => each.dataset.value === shown && each.closest("[data-column]").dataset.column === column);
        again?.focus({preventScroll: true});
    }

    listenToResults() {
        const {results} = this.part;
        keys.listen(results);
        results.addEventListener("cpc-more", () => this.more());
        results.addEventListener("click", (event) => {
            const button = event.target.closest("[data-small], [data-unfold]");
            if (!button) return;
            if (button.dataset.unfold) return this.unfold(button);
            const what = `id:${button.closest(".cpc-cell").dataset.id}`;
            const act = button.dataset.small;
            this.withFocus(() => (act === "search" ? this.searchWith(what) : this.refine(what, act === "plus" ? 1 : -1)));
        });
        this.part["results-heading"].addEventListener("click", async (event) => {
            const {act, arg} = event.target.dataset;
            if (act === "results") this.go({...this.shown, k: Number(arg)});
            if (event.target.dataset.download !== "originals.zip") return;
            event.preventDefault();
            try { // a browser shows no words of a download that is refused
                await ask("originals", address.write(this.shown));
                location.assign(event.target.href);
            } catch (error) {
                this.say(error.message);
            }
        });
    }

    /** The grid is drawn anew: who moves by keyboard goes on from its first image. */
    async withFocus(change) {
        await change();
        if (document.activeElement === document.body)
            this.part.results.querySelector(".cpc-tile")?.focus({preventScroll: true});
    }

    unfold(button) {
        const open = button.getAttribute("aria-expanded") === "true";
        button.setAttribute("aria-expanded", String(!open));
        this.part.results.querySelectorAll(`[data-under="${button.dataset.unfold}"]`).forEach((cell) => {
            cell.hidden = open;
        });
    }
}

function showTab() {
    const tab = [...document.querySelectorAll("#tabs [role=tab]")].find((each) => each.textContent.trim() === "Search");
    if (tab?.getAttribute("aria-selected") === "false") tab.click();
}
