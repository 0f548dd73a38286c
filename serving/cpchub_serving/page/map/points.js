// Draws points: by WebGL where there is a graphics card, else pixel by pixel, which was measured to be faster than WebGL by
// software. Both know the same three calls:
//   place(places)          x and y of each point, Uint16Array, in steps of a square
//   colour(colours)        red, green, blue, alpha of each point, Uint8Array
//   draw(view, size, share)
//                          view {x, y, scale}: the middle of the canvas in steps, and pixels a step; size: of a point,
//                          pixels; share: how many of the points, from the first on

const BY_SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;

export function pointsOn(canvas) {
    return hasCard() ? new WebglPoints(canvas.getContext("webgl", {antialias: false})) : new PixelPoints(canvas.getContext("2d"));
}

/** Asked of another canvas: one that has been drawn on by WebGL cannot be drawn on otherwise. */
function hasCard() {
    const gl = document.createElement("canvas").getContext("webgl");
    if (!gl) return false;
    const info = gl.getExtension("WEBGL_debug_renderer_info");
    const by = gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
    gl.getExtension("WEBGL_lose_context")?.loseContext();
    return !BY_SOFTWARE.test(by);
}

const VERTEX = `
attribute vec2 place;
attribute vec4 colour;
uniform vec2 middle, scale;
uniform mediump float size;
varying vec4 shade;
void main() {
    gl_Position = vec4((place - middle) * scale, 0.0, 1.0);
    gl_PointSize = size;
    shade = vec4(colour.rgb * colour.a, colour.a);
}`;
const FRAGMENT = `
precision mediump float;
uniform mediump float size;
varying vec4 shade;
void main() {
    float edge = (0.5 - length(gl_PointCoord - 0.5)) * size; // pixels from the edge of the disc inwards
    gl_FragColor = shade * clamp(edge + 0.5, 0.0, 1.0);
}`;

class WebglPoints {
    constructor(gl) {
        this.gl = gl;
        this.count = 0;
        this.kind = "WebGL";
        gl.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
        gl.canvas.addEventListener("webglcontextrestored", () => this.prepare());
        this.prepare();
    }

    prepare() {
        const {gl} = this;
        const program = gl.createProgram();
        for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
            const shader = gl.createShader(kind);
            gl.shaderSource(shader, text);
            gl.compileShader(shader);
            gl.attachShader(program, shader);
        }
        gl.linkProgram(program);
        gl.useProgram(program);
        gl.enable(gl.BLEND);
        gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
        this.at = (name) => gl.getUniformLocation(program, name);
        this.buffers = {place: this.buffer(program, "place", 2, gl.UNSIGNED_SHORT, false),
            colour: this.buffer(program, "colour", 4, gl.UNSIGNED_BYTE, true)};
        if (this.places) this.place(this.places);
        if (this.colours) this.colour(this.colours);
    }

    buffer(program, name, parts, type, normalised) {
        const {gl} = this;
        const buffer = gl.createBuffer(), place = gl.getAttribLocation(program, name);
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.enableVertexAttribArray(place);
        gl.vertexAttribPointer(place, parts, type, normalised, 0, 0);
        return buffer;
    }

    fill(name, data) {
        this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[name]);
        this.gl.bufferData(this.gl.ARRAY_BUFFER, data, this.gl.STATIC_DRAW);
    }

    place(places) {
        this.places = places;
        this.count = places.length / 2;
        this.fill("place", places);
    }

    colour(colours) {
        this.colours = colours;
        this.fill("colour", colours);
    }

    draw(view, size, share) {
        const {gl} = this, {width, height} = gl.canvas;
        gl.viewport(0, 0, width, height);
        gl.clear(gl.COLOR_BUFFER_BIT);
        if (!this.colours || this.colours.length !== 4 * this.count) return;
        gl.uniform2f(this.at("middle"), view.x, view.y);
        gl.uniform2f(this.at("scale"), 2 * view.scale / width, 2 * view.scale / height);
        gl.uniform1f(this.at("size"), size);
        gl.drawArrays(gl.POINTS, 0, Math.ceil(share * this.count));
    }
}

class PixelPoints {
    constructor(context) {
        this.context = context;
        this.kind = "canvas";
    }

    place(places) { this.places = places; }

    colour(colours) { this.colours = colours; }

    draw(view, size, share) {
        const {width, height} = this.context.canvas;
        const image = this.context.createImageData(width, height), {data} = image;
        const {places, colours} = this, side = Math.max(1, Math.round(size * 0.9));
        if (!places || colours?.length !== 2 * places.length) return this.context.clearRect(0, 0, width, height);
        const round = (y) => Math.round(side / 2 - Math.sqrt((side / 2) ** 2 - (y + 0.5 - side / 2) ** 2));
        const insets = Array.from({length: side}, (_, y) => (side < 4 ? 0 : round(y))); // of the rows of a disc
        for (let i = 0; i < share * places.length / 2; i++) {
            const left = Math.round(width / 2 + (places[2 * i] - view.x) * view.scale - side / 2);
            const top = Math.round(height / 2 - (places[2 * i + 1] - view.y) * view.scale - side / 2);
            if (left < 0 || top < 0 || left + side > width || top + side > height) continue;
            const alpha = colours[4 * i + 3] / 255;
            for (let y = 0; y < side; y++) {
                const first = (top + y) * width + left + insets[y], end = 4 * (first + side - 2 * insets[y]);
                for (let pixel = 4 * first; pixel < end; pixel += 4) {
                    const under = data[pixel + 3] / 255 * (1 - alpha), whole = alpha + under;
                    for (let part = 0; part < 3; part++)
                        data[pixel + part] = (colours[4 * i + part] * alpha + data[pixel + part] * under) / whole;
                    data[pixel + 3] = 255 * whole;
                }
            }
        }
        this.context.putImageData(image, 0, 0);
    }
}
