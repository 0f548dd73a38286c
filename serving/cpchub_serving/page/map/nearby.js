// Finds points by where they are. Places are x and y of each point, Uint16Array; they are sorted into cells once.

const SHIFT = 8, SIDE = 256; // cells a side, and steps a cell

export class Nearby {
    constructor(places) {
        this.places = places;
        const count = places.length / 2;
        this.starts = new Uint32Array(SIDE * SIDE + 1);
        for (let i = 0; i < count; i++) this.starts[this.cell(i) + 1]++;
        for (let cell = 0; cell < SIDE * SIDE; cell++) this.starts[cell + 1] += this.starts[cell];
        const next = this.starts.slice();
        this.order = new Uint32Array(count);
        for (let i = 0; i < count; i++) this.order[next[this.cell(i)]++] = i;
    }

    cell(i) { return (this.places[2 * i + 1] >> SHIFT) * SIDE + (this.places[2 * i] >> SHIFT); }

    /** The point that is nearest to a place and at most `reach` steps from it; -1 where there is none. */
    nearest(x, y, reach) {
        let best = -1, least = reach * reach;
        this.within(x - reach, y - reach, x + reach, y + reach, (i) => {
            const distance = (this.places[2 * i] - x) ** 2 + (this.places[2 * i + 1] - y) ** 2;
            if (distance <= least) [best, least] = [i, distance];
        });
        return best;
    }

    /** Calls `found` with each point of a rectangle. */
    within(left, bottom, right, top, found) {
        const cell = (value) => Math.min(SIDE - 1, Math.max(0, value >> SHIFT));
        for (let row = cell(bottom); row <= cell(top); row++) {
            const end = this.starts[row * SIDE + cell(right) + 1];
            for (let k = this.starts[row * SIDE + cell(left)]; k < end; k++) {
                const i = this.order[k], x = this.places[2 * i], y = this.places[2 * i + 1];
                if (x >= left && x <= right && y >= bottom && y <= top) found(i);
            }
        }
    }

    /** The points inside a closed line of [x, y]: a ray to the right of them crosses it an odd number of times. */
    inside(line) {
        const xs = line.map(([x]) => x), ys = line.map(([, y]) => y), rows = [];
        this.within(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), (i) => {
            const x = this.places[2 * i], y = this.places[2 * i + 1];
            let odd = false;
            for (let a = 0, b = line.length - 1; a < line.length; b = a++)
                if ((ys[a] > y) !== (ys[b] > y) && x < (xs[b] - xs[a]) * (y - ys[a]) / (ys[b] - ys[a]) + xs[a]) odd = !odd;
            if (odd) rows.push(i);
        });
        return rows.sort((a, b) => a - b);
    }
}
