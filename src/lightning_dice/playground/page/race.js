// The race: plain training and training with dice from one start, step by step. It knows no page.
//
// Where the factor goes, in this order: noise, clipping, roll, optimizer. What people do instead can
// be chosen too (clipping after the roll, a zero gradient for a discard), to see what it does.

import { SURFACES } from "./surfaces.js";
import { optimizer } from "./optimizers.js";
import { Words, faces, kept, normals } from "./philox.js";
import { Throw, OUTCOMES } from "./throws.js";

/** Steps a race has at most: its paths are kept whole. */
export const LONGEST = 10000;
const HORIZON = 1e6; // a weight beyond this has diverged
const ROLLS = 0n; // streams of the generator
const NOISE = 1n << 63n;
const RULE = ["die", "threshold", "scaling", "normalize"];

export class Race {
  constructor(tables, settings) {
    this.tables = tables;
    this.settings = { ...settings };
    this.steps = 0;
    this.last = null;
    this.runners = Object.fromEntries(
      ["plain", "dice", "mean"].map((kind) => [kind, new Runner(this.settings)]),
    );
    this.reseed();
    this.rethrow();
  }

  /** Change some settings; the next step follows them. Where a race starts is none of these. */
  change(changes) {
    const before = this.settings;
    this.settings = { ...before, ...changes };
    const changed = (key) => before[key] !== this.settings[key];
    if (changed("seed")) this.reseed();
    if (RULE.some(changed)) this.rethrow();
    if (changed("optimizer")) {
      for (const runner of Object.values(this.runners)) {
        runner.optimizer = optimizer(this.settings.optimizer);
      }
    }
  }

  get over() {
    const { plain, dice } = this.runners;
    return this.steps >= LONGEST || Boolean(plain.stopped !== null && dice.stopped !== null);
  }

  /** One step of everybody; the roll, or null when the race is over. */
  advance() {
    if (this.over) return null;
    const { lr, noise, clip, clipnorm } = this.settings;
    const step = this.steps;
    const kick = noise ? normals(this.noise, step).map((n) => n * noise) : [0, 0];
    const slope = (runner) => runner.slope(this.settings.surface, kick);
    const clipped = clip === "off" ? (g) => g : (g) => clipNorm(g, clipnorm);

    const { plain, dice, mean } = this.runners;
    plain.move(step, (w, optimize) => optimize(w, clipped(slope(plain)), lr));
    mean.move(step, (w, optimize) => {
      if (this.throw.mean <= 0) return [0, 0]; // no learning rate does that
      return optimize(w, clipped(slope(mean)), lr * this.throw.mean);
    });
    const shown = faces(this.rolls, this.throw.die, step);
    const roll = this.throw.roll(kept(shown, this.throw.die));
    const full = dice.own(clipped(slope(dice)), lr);
    const moved = dice.move(step, (w, optimize) => this.roll(roll, w, optimize, slope(dice), clipped));
    this.steps += 1;
    this.last = { ...roll, shown, arrived: share(moved, full) };
    if (moved !== null) dice.outcomes.push(roll.outcome);
    this.count(this.last);
    return this.last;
  }

  roll({ scale }, weights, optimize, gradient, clipped) {
    const { lr, target, clip, discard } = this.settings;
    const times = (vector, factor) => vector.map((v) => v * factor);
    if (target === "update") {
      const step = optimize(weights, clipped(gradient), lr); // the state moves on in full
      return times(step, scale ?? 0);
    }
    if (scale === null) {
      return discard === "zero" ? optimize(weights, [0, 0], lr) : [0, 0];
    }
    if (clip === "after") return optimize(weights, clipped(times(gradient, scale)), lr);
    return optimize(weights, times(clipped(gradient), scale), lr);
  }

  reseed() {
    this.rolls = new Words(this.settings.seed, ROLLS);
    this.noise = new Words(this.settings.seed, NOISE);
  }

  /** A new rule: what was observed under another one says nothing of it. */
  rethrow() {
    this.throw = new Throw(this.tables, this.settings);
    this.observed = {
      rolls: 0,
      outcomes: Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])),
      faces: this.throw.scales.map(() => 0),
      scales: 0,
      arrivals: 0,
      arrived: 0,
    };
  }

  count({ natural: face, outcome, scale, arrived }) {
    const seen = this.observed;
    seen.rolls += 1;
    seen.outcomes[outcome] += 1;
    seen.faces[face - 1] += 1;
    seen.scales += scale ?? 0;
    if (arrived !== null) {
      seen.arrivals += 1;
      seen.arrived += arrived;
    }
  }
}

/** One ball: its weights, its optimizer, and where it has been. */
class Runner {
  constructor({ x, y, surface, optimizer: kind }) {
    this.optimizer = optimizer(kind);
    this.surface = surface;
    this.path = [[x, y]];
    this.losses = [SURFACES[surface].loss(x, y)];
    this.outcomes = []; // of the roll behind each step, where dice are rolled
    this.stopped = null; // the step at which it diverged
  }

  get weights() {
    return this.path[this.path.length - 1];
  }

  slope(surface, kick) {
    const [gx, gy] = SURFACES[surface].gradient(...this.weights);
    return [gx + kick[0], gy + kick[1]];
  }

  /** The step that the optimizer would make now, were the roll a 20. */
  own(gradient, rate) {
    return this.optimizer.copy().step(this.weights, gradient, rate);
  }

  move(step, by) {
    if (this.stopped !== null) return null;
    const optimize = (...given) => this.optimizer.step(...given);
    const moved = by(this.weights, optimize);
    const next = this.weights.map((w, i) => w + moved[i]);
    if (!next.every((w) => Math.abs(w) <= HORIZON)) {
      this.stopped = step;
      return null;
    }
    this.path.push(next);
    this.losses.push(SURFACES[this.surface].loss(...next));
    return moved;
  }
}

/** What `torch.nn.utils.clip_grad_norm_` makes of a gradient. */
export function clipNorm(gradient, most) {
  const factor = Math.min(1, most / (Math.hypot(...gradient) + 1e-6));
  return gradient.map((g) => g * factor);
}

/** How much of the step `full` the step `moved` is, along it; null where there is nothing to say. */
function share(moved, full) {
  const length = full[0] ** 2 + full[1] ** 2;
  if (moved === null || !(length > 0)) return null;
  return (moved[0] * full[0] + moved[1] * full[1]) / length;
}
