// Which part of the plane is seen, and the moves that change it: drag, wheel, pinch, keys. A line that is drawn selects.

const MOST = 400; // times the whole
const STILL = 5; // pixels that a click may move
const STEP = 80; // pixels, of an arrow key

/** x, y: the place in the middle; scale: CSS pixels a step; width, height: CSS pixels of the stage. y goes upwards. */
export class View {
    constructor() { Object.assign(this, {x: 0, y: 0, scale: 1, width: 1, height: 1, whole: 1}); }

    resize(width, height) { Object.assign(this, {width, height}); }

    /** All places are seen. */
    fit(places) {
        const [low, high] = [[65535, 65535], [0, 0]];
        for (let i = 0; i < places.length; i++) {
            low[i % 2] = Math.min(low[i % 2], places[i]);
            high[i % 2] = Math.max(high[i % 2], places[i]);
        }
        const [wide, tall] = [0, 1].map((axis) => Math.max(1, high[axis] - low[axis]));
        this.scale = this.whole = 0.94 * Math.min(this.width / wide, this.height / tall);
        [this.x, this.y] = [0, 1].map((axis) => (low[axis] + high[axis]) / 2);
    }

    get zoom() { return this.scale / this.whole; }

    place(left, top) {
        return [this.x + (left - this.width / 2) / this.scale, this.y - (top - this.height / 2) / this.scale];
    }

    pixel(x, y) {
        return [this.width / 2 + (x - this.x) * this.scale, this.height / 2 - (y - this.y) * this.scale];
    }

    move(right, down) {
        this.x -= right / this.scale;
        this.y += down / this.scale;
    }

    zoomAt(left, top, times) {
        const [x, y] = this.place(left, top);
        this.scale = Math.min(MOST * this.whole, Math.max(this.whole / 2, this.scale * times));
        this.x = x - (left - this.width / 2) / this.scale;
        this.y = y + (top - this.height / 2) / this.scale;
    }
}

/** tells: {moved(), clicked(left, top), hovered(left, top, event), left(), drawing(line), drawn(line), chooses(), leaves(), fit()}.
    A line is a list of [left, top]; tool() is "move", "lasso" or "box". */
export function listen(canvas, view, tool, tells) {
    const fingers = new Map();
    let line = null, began = null, still = true;
    const at = (event) => {
        const box = canvas.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top];
    };
    const stop = () => {
        line = null;
        tells.drawing(null);
    };
    canvas.addEventListener("pointerdown", (event) => {
        if (event.button > 0) return;
        canvas.setPointerCapture(event.pointerId);
        fingers.set(event.pointerId, at(event));
        tells.left();
        [began, still] = [at(event), fingers.size === 1];
        if (fingers.size > 1) stop();
        else if (tool() !== "move" || event.shiftKey) line = [began];
    });
    canvas.addEventListener("pointermove", (event) => {
        const now = at(event), before = fingers.get(event.pointerId);
        if (!before) return tells.hovered(...now, event);
        if (still && Math.hypot(now[0] - began[0], now[1] - began[1]) < STILL) return;
        still = false;
        if (line) {
            const box = tool() === "box" ? [began, [now[0], began[1]], now, [began[0], now[1]]] : null;
            line = box ?? [...line, now];
            tells.drawing(line);
        } else if (fingers.size === 2) {
            const [, other] = [...fingers].find(([id]) => id !== event.pointerId);
            const spread = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
            view.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
            view.zoomAt((now[0] + other[0]) / 2, (now[1] + other[1]) / 2, spread(now) / Math.max(1, spread(before)));
            tells.moved();
        } else if (fingers.size === 1) {
            view.move(now[0] - before[0], now[1] - before[1]);
            tells.moved();
        }
        fingers.set(event.pointerId, now);
    });
    const end = (event) => {
        if (!fingers.delete(event.pointerId)) return;
        const [drawn, pressed] = [line, event.type === "pointerup"];
        stop();
        if (pressed && still) tells.clicked(...at(event));
        else if (pressed && drawn?.length > 2) tells.drawn(drawn);
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", () => tells.left());
    canvas.addEventListener("wheel", (event) => {
        event.preventDefault();
        view.zoomAt(...at(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
        tells.moved();
    }, {passive: false});
    canvas.addEventListener("keydown", (event) => key(event, view, tells));
}

function key(event, view, tells) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const zoom = (times) => view.zoomAt(view.width / 2, view.height / 2, times);
    const acts = {
        ArrowLeft: () => view.move(STEP, 0), ArrowRight: () => view.move(-STEP, 0),
        ArrowUp: () => view.move(0, STEP), ArrowDown: () => view.move(0, -STEP),
        "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: () => tells.fit(),
        Enter: () => tells.chooses(), Escape: () => tells.leaves(),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
    tells.moved();
}
