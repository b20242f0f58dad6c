// The two maps: contours of the loss, and the paths over them. The contours are drawn once for a
// size, a surface and a theme; a path is only ever added to, so that a long one costs no more.

import { SURFACES } from "./surfaces.js";

const LEVELS = 14;

/** How the four outcomes look: colour and mark, so that either tells them apart. */
export const MARKS = {
  critical_failure: { colour: "--critical-failure", mark: cross },
  failure: { colour: "--failure", mark: triangle },
  success: { colour: "--success", mark: dot },
  critical_success: { colour: "--critical-success", mark: star },
};

export class Panel {
  /** `lines(race)` gives what is drawn: runner, colour, dash, width, and whether steps are marked. */
  constructor(canvas, lines) {
    this.canvas = canvas;
    this.lines = lines;
    this.ground = null;
    this.trail = document.createElement("canvas");
    this.drawn = [];
    this.ready = false;
  }

  /** Forget what is drawn: another size, surface, theme or race. */
  reset(surface) {
    const { clientWidth, clientHeight } = this.canvas;
    this.ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.round(clientWidth * this.ratio);
    const height = Math.round(clientHeight * this.ratio);
    this.ready = width >= 16 && height >= 16;
    if (!this.ready) return;
    for (const canvas of [this.canvas, this.trail]) {
      canvas.width = width;
      canvas.height = height;
    }
    this.surface = surface;
    this.drawn = [];
    this.ground = ground(surface, width, height, this.ratio);
  }

  frame(race) {
    if (!this.ready) return;
    const lines = this.lines(race);
    const trail = this.trail.getContext("2d");
    lines.forEach((line, i) => {
      const from = this.drawn[i] ?? 0;
      if (line.runner.path.length - 1 > from) this.extend(trail, line, from);
      this.drawn[i] = line.runner.path.length - 1;
    });
    const context = this.canvas.getContext("2d");
    context.drawImage(this.ground, 0, 0);
    context.drawImage(this.trail, 0, 0);
    const start = lines[0].runner.path[0];
    ring(context, ...this.place(start), 5 * this.ratio, colour("--ink"), this.ratio);
    for (const line of lines) if (line.ball) this.ball(context, line);
  }

  extend(context, { runner, stroke, dash, width, marked }, from) {
    const points = runner.path;
    context.strokeStyle = colour(stroke);
    context.lineWidth = width * this.ratio;
    context.lineJoin = "round";
    context.setLineDash(dash.map((d) => d * this.ratio));
    context.beginPath();
    context.moveTo(...this.place(points[from]));
    for (let i = from + 1; i < points.length; i++) context.lineTo(...this.place(points[i]));
    context.stroke();
    context.setLineDash([]);
    for (let i = from + 1; marked && i < points.length; i++) {
      const { colour: name, mark } = MARKS[runner.outcomes[i - 1]];
      mark(context, ...this.place(points[i]), 3.4 * this.ratio, colour(name), colour("--map-edge"));
    }
  }

  /** Where the race is now, or at the edge an arrow towards it. */
  ball(context, { runner, stroke }) {
    const [x, y] = this.place(runner.weights);
    const { width, height } = this.canvas;
    const edge = 12 * this.ratio;
    const [inX, inY] = [clamp(x, edge, width - edge), clamp(y, edge, height - edge)];
    const outside = x < 0 || y < 0 || x > width || y > height;
    context.fillStyle = colour(stroke);
    context.strokeStyle = colour("--map-edge");
    context.lineWidth = 2 * this.ratio;
    context.beginPath();
    if (outside || runner.stopped !== null) {
      const angle = Math.atan2(y - height / 2, x - width / 2);
      for (const [turn, size] of [[0, 11], [2.5, 9], [-2.5, 9]]) {
        const reach = size * this.ratio;
        context.lineTo(inX + reach * Math.cos(angle + turn), inY + reach * Math.sin(angle + turn));
      }
      context.closePath();
    } else {
      context.arc(x, y, 6 * this.ratio, 0, 2 * Math.PI);
    }
    context.fill();
    context.stroke();
  }

  place([x, y]) {
    const [left, right, bottom, top] = fitted(this.surface, this.canvas);
    const { width, height } = this.canvas;
    // What has diverged is far outside, and a canvas takes no number without end.
    const u = clamp((x - left) / (right - left), -50, 50);
    const v = clamp((top - y) / (top - bottom), -50, 50);
    return [u * width, v * height];
  }

  /** The weights under a point of the canvas, in CSS pixels. */
  weightsAt(u, v) {
    const [left, right, bottom, top] = fitted(this.surface, this.canvas);
    const x = left + (u / this.canvas.clientWidth) * (right - left);
    const y = top - (v / this.canvas.clientHeight) * (top - bottom);
    return [Math.round(x * 1000) / 1000, Math.round(y * 1000) / 1000];
  }
}

/** The surface's window, widened to the shape of the canvas, so that a circle stays one. */
function fitted(surface, { width, height }) {
  const [left, right, bottom, top] = SURFACES[surface].window;
  const wide = (right - left) / width;
  const tall = (top - bottom) / height;
  const scale = Math.max(wide, tall);
  const [midX, midY] = [(left + right) / 2, (bottom + top) / 2];
  const [halfX, halfY] = [(scale * width) / 2, (scale * height) / 2];
  return [midX - halfX, midX + halfX, midY - halfY, midY + halfY];
}

let newest = { name: null, canvas: null };

/** Contours of a surface; the newest are kept, as both maps show the same. */
function ground(surface, width, height, ratio) {
  const name = [surface, width, height, document.documentElement.dataset.theme].join();
  if (newest.name !== name) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    contours(canvas, surface, ratio);
    newest = { name, canvas };
  }
  return newest.canvas;
}

/** Bands of equal ratio of the loss above its lowest, with a line between them. */
function contours(canvas, surface, ratio) {
  const { width, height } = canvas;
  const { loss, lowest, minima } = SURFACES[surface];
  const [left, right, bottom, top] = fitted(surface, canvas);
  const field = new Float64Array(width * height);
  let highest = 0;
  for (let row = 0; row < height; row++) {
    const y = top - ((row + 0.5) / height) * (top - bottom);
    for (let column = 0; column < width; column++) {
      const x = left + ((column + 0.5) / width) * (right - left);
      const above = loss(x, y) - lowest;
      field[row * width + column] = above;
      if (above > highest) highest = above;
    }
  }
  const small = highest / 2000; // below this all is one band
  const scale = LEVELS / Math.log1p(highest / small);
  const level = field.map((above) => scale * Math.log1p(above / small));
  const [low, high, line] = ["--map-low", "--map-high", "--map-line"].map((c) => rgb(colour(c)));
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const at = row * width + column;
      const here = level[at];
      const slope = Math.hypot(
        level[row * width + Math.min(column + 1, width - 1)] - here,
        level[Math.min(row + 1, height - 1) * width + column] - here,
      );
      const away = Math.abs(here - Math.round(here)) / Math.max(slope, 1e-9); // in pixels
      const drawn = 0.55 * clamp(1.1 * ratio - away, 0, 1) * clamp(0.9 - slope, 0, 1);
      const band = Math.floor(here) / LEVELS;
      for (let c = 0; c < 3; c++) {
        const fill = low[c] + (high[c] - low[c]) * band;
        image.data[4 * at + c] = fill + (line[c] - fill) * drawn;
      }
      image.data[4 * at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  context.strokeStyle = colour("--ink");
  context.lineWidth = 1.5 * ratio;
  for (const [x, y] of minima) {
    const [u, v] = [((x - left) / (right - left)) * width, ((top - y) / (top - bottom)) * height];
    context.beginPath();
    for (const [du, dv] of [[5, 0], [0, 5]]) {
      context.moveTo(u - du * ratio, v - dv * ratio);
      context.lineTo(u + du * ratio, v + dv * ratio);
    }
    context.stroke();
  }
}

const resolved = new Map();

/** A colour of the theme by the name of its variable. */
export function colour(name) {
  if (!resolved.has(name)) {
    const style = getComputedStyle(document.documentElement);
    resolved.set(name, style.getPropertyValue(name).trim());
  }
  return resolved.get(name);
}

/** The theme has changed: ask for colours again. */
export function forgetColours() {
  resolved.clear();
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

function ring(context, x, y, size, stroke, ratio) {
  context.strokeStyle = stroke;
  context.lineWidth = 1.5 * ratio;
  context.beginPath();
  context.arc(x, y, size, 0, 2 * Math.PI);
  context.stroke();
}

function shape(context, points, fill, edge) {
  context.beginPath();
  for (const point of points) context.lineTo(...point);
  context.closePath();
  finish(context, fill, edge);
}

function finish(context, fill, edge) {
  context.fillStyle = fill;
  context.strokeStyle = edge;
  context.lineWidth = 1;
  context.fill();
  context.stroke();
}

function dot(context, x, y, size, fill, edge) {
  context.beginPath();
  context.arc(x, y, 0.85 * size, 0, 2 * Math.PI);
  finish(context, fill, edge);
}

function triangle(context, x, y, size, fill, edge) {
  shape(context, [[x - size, y - 0.8 * size], [x + size, y - 0.8 * size], [x, y + size]], fill, edge);
}

function star(context, x, y, size, fill, edge) {
  const points = Array.from({ length: 10 }, (_, i) => {
    const reach = (i % 2 ? 0.6 : 1.5) * size;
    const angle = (i * Math.PI) / 5 - Math.PI / 2;
    return [x + reach * Math.cos(angle), y + reach * Math.sin(angle)];
  });
  shape(context, points, fill, edge);
}

function cross(context, x, y, size, fill, edge) {
  for (const [stroke, width] of [[edge, 1.1], [fill, 0.65]]) {
    context.strokeStyle = stroke;
    context.lineWidth = width * size;
    context.beginPath();
    context.moveTo(x - size, y - size);
    context.lineTo(x + size, y + size);
    context.moveTo(x + size, y - size);
    context.lineTo(x - size, y + size);
    context.stroke();
  }
}
