// What can be set, within which limits, and how all of it stands in the page's address. Whatever an
// address holds, what comes of it can be used; what had to be changed is said.

import { SURFACES } from "./surfaces.js";
import { OPTIMIZERS } from "./optimizers.js";
import { LONGEST } from "./race.js";

const TOP_SEED = (1n << 64n) - 1n;
/** Changes on the way that an address can hold. */
export const MOST_CHANGES = 300;

const choice = (options, initial) => ({ options, initial });
const number = (least, most, initial) => ({ least, most, initial });

/** Every setting: its options or limits, and its default, which may depend on those before it. */
export function specification(tables) {
  const { dice, scalings, normalizes, defaults } = tables;
  const of = (settings) => SURFACES[settings.surface];
  return {
    surface: choice(Object.keys(SURFACES), () => "bowl"),
    optimizer: choice(Object.keys(OPTIMIZERS), () => "sgd"),
    lr: number(1e-5, 10, (s) => of(s).rates[s.optimizer]),
    noise: number(0, 3, (s) => of(s).noise),
    x: number(-1000, 1000, (s) => of(s).start[0]),
    y: number(-1000, 1000, (s) => of(s).start[1]),
    die: choice(Object.keys(dice), () => defaults.die),
    threshold: {
      ...number(1, (s) => dice[s.die].thresholds.length, (s) =>
        Math.min(defaults.threshold, dice[s.die].thresholds.length),
      ),
      whole: true,
    },
    scaling: choice(scalings, () => defaults.scaling),
    normalize: choice(normalizes, () => defaults.normalize),
    target: choice(["gradient", "update"], () => "gradient"),
    clip: choice(["off", "before", "after"], () => "off"),
    clipnorm: number(1e-3, 100, () => 1),
    discard: choice(["out", "zero"], () => "out"),
    mean: choice(["off", "on"], () => "off"),
    seed: { seed: true, initial: () => "0" },
    speed: number(1, 240, () => 8),
  };
}

/** Settings that a race cannot follow while it runs: they start another. */
export const STARTS = ["surface", "x", "y"];

/** All defaults, with `given` in their place where it says something. */
export function complete(spec, given) {
  const settings = {};
  for (const [key, { initial }] of Object.entries(spec)) {
    settings[key] = has(given, key) ? given[key] : initial(settings);
  }
  return settings;
}

/** The value that `text` stands for, and what had to be done to it, or null. */
export function read(spec, key, text, settings) {
  const { options, least, most, initial, whole, seed } = spec[key];
  const fallback = initial(settings);
  const instead = (value, why) => ({ value, said: `${key}=${shorten(text)} ${why}: ${value} it is.` });
  if (options) {
    if (options.includes(text)) return { value: text, said: null };
    return instead(fallback, `is none of ${options.join(", ")}`);
  }
  if (seed) {
    if (!/^\d{1,20}$/.test(text)) return instead(fallback, "is not a whole number");
    const value = BigInt(text);
    if (value > TOP_SEED) return instead(String(TOP_SEED), "is more than a seed can be");
    return { value: String(value), said: null };
  }
  const value = String(text).trim() === "" ? NaN : Number(text);
  if (Number.isNaN(value)) return instead(fallback, "is not a number");
  const top = typeof most === "function" ? most(settings) : most;
  if (value < least) return instead(least, "is too small");
  if (value > top) return instead(top, "is too large");
  if (whole && !Number.isInteger(value)) return instead(Math.round(value), "is not whole");
  return { value, said: null };
}

/** What an address holds: settings, how far the race had run, what was changed on the way. */
export function parse(spec, address) {
  const said = [];
  const given = {};
  const settings = {};
  const entries = new Map();
  for (const part of address.replace(/^#/, "").split("&").filter(Boolean)) {
    const [key, value = ""] = part.split(/=(.*)/s).map(decode);
    if (!has(spec, key) && !["steps", "changes", "lesson"].includes(key)) {
      said.push(`The address has ${shorten(key)}, which means nothing here: it was left out.`);
    } else {
      entries.set(key, value);
    }
  }
  for (const key of Object.keys(spec)) {
    if (entries.has(key)) {
      const { value, said: why } = read(spec, key, entries.get(key), settings);
      given[key] = value;
      if (why) said.push(why);
    }
    settings[key] = has(given, key) ? given[key] : spec[key].initial(settings);
  }
  const steps = whole(entries.get("steps"), 0, LONGEST, said, "steps");
  const changes = parseChanges(spec, entries.get("changes"), settings, steps, said);
  return { settings, steps, changes, lesson: entries.get("lesson") ?? null, said };
}

function parseChanges(spec, text, settings, steps, said) {
  const changes = [];
  let current = settings;
  for (const part of (text ?? "").split(",").filter(Boolean)) {
    const [at, key, value = ""] = part.split("~");
    const step = Number(at);
    const last = changes.length ? changes[changes.length - 1].step : 0;
    const fits = Number.isInteger(step) && step >= last && step <= steps;
    if (!fits || !has(spec, key) || STARTS.includes(key) || changes.length >= MOST_CHANGES) {
      said.push(`The change ${shorten(part)} cannot be made: it was left out.`);
      continue;
    }
    const { value: usable, said: why } = read(spec, key, value, current);
    if (why) said.push(why);
    current = fit(spec, { ...current, [key]: usable });
    changes.push({ step, key, value: usable });
  }
  return changes;
}

/** `settings` with a threshold that the die can reach. */
export function fit(spec, settings) {
  const top = spec.threshold.most(settings);
  return settings.threshold > top ? { ...settings, threshold: top } : settings;
}

/** The address of a race: only what is not the default. */
export function format(spec, { settings, steps = 0, changes = [], lesson = null }) {
  const parts = lesson ? [`lesson=${encodeURIComponent(lesson)}`] : [];
  const known = {};
  for (const [key, { initial }] of Object.entries(spec)) {
    known[key] = settings[key];
    if (settings[key] !== initial(known)) parts.push(`${key}=${encodeURIComponent(settings[key])}`);
  }
  if (steps) parts.push(`steps=${steps}`);
  if (changes.length) {
    const written = changes.map((c) => `${c.step}~${c.key}~${encodeURIComponent(c.value)}`);
    parts.push(`changes=${written.join(",")}`);
  }
  return parts.join("&");
}

function whole(text, least, most, said, name) {
  if (text === undefined) return least;
  const value = Number(text);
  if (text !== "" && Number.isInteger(value) && value >= least && value <= most) return value;
  const usable = Number.isNaN(value) ? least : Math.min(Math.max(Math.round(value), least), most);
  said.push(`${name}=${shorten(text)} cannot be: ${usable} it is.`);
  return usable;
}

/** Whether an object has a key itself: every object inherits “constructor”. */
function has(object, key) {
  return Object.hasOwn(object, key);
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray percent sign
  }
}

function shorten(text) {
  const plain = String(text);
  return `“${plain.length > 30 ? `${plain.slice(0, 29)}…` : plain}”`;
}
