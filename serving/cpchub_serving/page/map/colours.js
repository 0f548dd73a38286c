// The colours of points and of their legend. A coloured thing is {entries, low, high, steps, nothing, codes}.

const RAMP = ["#3f51b5", "#2f86c1", "#2aa48f", "#8db33f", "#e2a52b", "#d6542d"];
const NOTHING = 65535;
const GREY = {light: "#a8a29b", dark: "#6f6962"};
const SOLID = 215, FAINT = 26; // alpha of points

const parse = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

/** The palette as the style sheet has it now, light or dark. */
function palette(root) {
    const probe = root.appendChild(document.createElement("i"));
    const found = [];
    for (let number = 0; number < 10; number++) {
        probe.className = `cpc-c${number}`;
        found.push(getComputedStyle(probe).getPropertyValue("--class").trim());
    }
    probe.remove();
    return found;
}

export const isDark = () => document.body.classList.contains("dark");

/** Red, green, blue and alpha of each point, in the order in which they are drawn; only those that are `lit` are solid. */
export function shades(root, coloured, order, lit) {
    const grey = parse(isDark() ? GREY.dark : GREY.light), {codes, entries} = coloured;
    const colours = palette(root).map(parse);
    const of = coloured.low !== null ? ramp(coloured.steps)
        : entries.map(({colour}) => (colour === null ? grey : colours[colour]));
    const found = new Uint8Array(4 * codes.length);
    for (let drawn = 0; drawn < order.length; drawn++) {
        const i = order[drawn], code = codes[i];
        const [red, green, blue] = code === NOTHING ? grey : of[code];
        found[4 * drawn] = red;
        found[4 * drawn + 1] = green;
        found[4 * drawn + 2] = blue;
        found[4 * drawn + 3] = lit(i, code) ? SOLID : FAINT;
    }
    return found;
}

function ramp(steps) {
    const stops = RAMP.map(parse), found = [];
    for (let step = 0; step <= steps; step++) {
        const at = step / steps * (stops.length - 1), first = Math.min(stops.length - 2, Math.floor(at));
        found.push(stops[first].map((part, i) => Math.round(part + (stops[first + 1][i] - part) * (at - first))));
    }
    return found;
}

/** The legend: a button for each class, which lights its points alone; of numbers a ramp with its ends. */
export function drawLegend(place, coloured, lit) {
    const make = (tag, words, text = "") => Object.assign(document.createElement(tag), {className: words, textContent: text});
    if (coloured.low !== null) {
        const bar = make("i", "cpc-ramp");
        bar.style.background = `linear-gradient(90deg, ${RAMP.join(", ")})`;
        place.replaceChildren(make("span", "", coloured.low), bar, make("span", "", coloured.high));
    } else {
        place.replaceChildren(...coloured.entries.map(({name, colour, count}, code) => {
            const button = make("button", `cpc-map-key ${colour === null ? "cpc-grey" : `cpc-c${colour}`}`);
            button.type = "button";
            button.dataset.code = code;
            button.setAttribute("aria-pressed", String(lit === code));
            button.append(make("i", ""), make("b", "", name), make("span", "", count.toLocaleString("en")));
            return button;
        }));
    }
    if (coloured.nothing) place.append(make("span", "", `${coloured.nothing.toLocaleString("en")} without one`));
}
