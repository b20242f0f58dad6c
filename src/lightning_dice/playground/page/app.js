// The page: one race, what is seen of it, and what a person does to it.

import { Race, LONGEST } from "./race.js";
import { MOST_CHANGES, STARTS, complete, fit, format, parse, read, specification } from "./settings.js";
import { SURFACES } from "./surfaces.js";
import { OPTIMIZERS } from "./optimizers.js";
import { Throw } from "./throws.js";
import { face } from "./philox.js";
import { find } from "./dom.js";
import { Panel, forgetColours } from "./panels.js";
import { drawChart } from "./chart.js";
import { ThrowView, round, sentence } from "./throwview.js";
import { Controls } from "./controls.js";
import { Lessons } from "./lessons.js";

const tables = JSON.parse(find("tables").textContent);
const spec = specification(tables);
const TUMBLES = 4; // steps a second up to which the die is seen to tumble
const WRITTEN = 400; // milliseconds between two changes of the address

let race;
let origin; // the settings at the first step
let changes; // what was changed since, and when
let playing = false;
let until = Infinity;
let due = 0; // steps that time has brought since the last one
let clock = null;
const drawn = []; // milliseconds that the newest frames took
let stale = true; // something is to be drawn anew

const runner = (kind, look) => ({ runner: race.runners[kind], dash: [], width: 2, ...look });
const plain = (look) => runner("plain", { stroke: "--plain", ball: true, ...look });
const mean = () => {
  if (race.settings.mean !== "on") return [];
  return [runner("mean", { stroke: "--mean", dash: [6, 4], ball: true })];
};
const dice = (look) => runner("dice", { stroke: "--dice", ball: true, ...look });
const panels = [
  new Panel(find("plain-map"), () => [plain(), ...mean()]),
  new Panel(find("dice-map"), () => [
    dice({ width: 1, marked: true }),
    plain({ width: 1, dash: [2, 4], ball: false }),
  ]),
];
const throwView = new ThrowView();
const controls = new Controls(spec, (key, value) => set({ [key]: value }), say);
const lessons = new Lessons({
  start: (id, preset) => begin({ lesson: id || null, address: preset ?? lessons.preset(id) }),
  play: (steps) => play(race.steps + steps),
});

/** A race from the beginning, as an address describes it. */
function begin({ address, lesson }) {
  const { settings, steps, changes: known, said, lesson: named } = parse(spec, address);
  const id = lesson === undefined ? named : lesson;
  if (id !== null && !lessons.has(id)) said.push(`There is no lesson “${id.slice(0, 30)}”.`);
  lessons.show(lessons.has(id) ? id : null);
  pause();
  const kept = race && !address.includes("speed=") ? { speed: race.settings.speed } : {};
  restart({ ...settings, ...kept });
  for (const { step, key, value } of known) {
    advanceTo(step);
    note({ [key]: value });
  }
  advanceTo(steps);
  say(said);
  write();
}

function advanceTo(step) {
  while (race.steps < step && race.advance() !== null);
}

function restart(settings) {
  origin = fit(spec, settings);
  changes = [];
  race = new Race(tables, origin);
  due = 0;
  redraw();
}

/** Change settings as a person does: what goes together changes together. */
function set(given) {
  const together = { ...given };
  const surface = given.surface ?? race.settings.surface;
  const kind = given.optimizer ?? race.settings.optimizer;
  if ("surface" in given) {
    [together.x, together.y] = SURFACES[surface].start;
    together.noise = SURFACES[surface].noise;
  }
  if (("surface" in given || "optimizer" in given) && !("lr" in given)) {
    together.lr = SURFACES[surface].rates[kind];
  }
  const settings = fit(spec, { ...race.settings, ...together });
  if (settings.threshold !== (together.threshold ?? race.settings.threshold)) {
    say([`The die reaches ${settings.threshold}: the threshold is ${settings.threshold} now.`]);
  }
  if (STARTS.some((key) => key in together)) restart(settings);
  else note(together);
  write();
}

/** Change the race on its way, and remember it for the address. */
function note(given) {
  const before = race.settings;
  const after = fit(spec, { ...before, ...given });
  race.change(after);
  if (before.mean !== after.mean) redraw(); // its path comes, or goes
  if (race.steps === 0) origin = race.settings;
  for (const key of Object.keys(spec)) {
    if (race.steps === 0 || key === "speed" || before[key] === after[key]) continue;
    changes = changes.filter((change) => change.step !== race.steps || change.key !== key);
    changes.push({ step: race.steps, key, value: after[key] });
  }
  origin = { ...origin, speed: race.settings.speed };
  if (!race.throw.normalizable) {
    say(["The expected scale is not above 0, so it cannot be made 1: the scales stay as they are."]);
  }
  if (changes.length > MOST_CHANGES) {
    say([`More than ${MOST_CHANGES} changes do not fit into the address: restart to share a race.`]);
  }
  stale = true;
}

function play(end = Infinity) {
  if (race.over) return;
  playing = true;
  until = Math.min(end, LONGEST);
  clock = null;
  showPlaying();
}

function pause() {
  playing = false;
  until = Infinity;
  due = 0;
  showPlaying();
  if (race) write();
}

function showPlaying() {
  find("play").textContent = playing ? "Pause" : "Play";
  find("play").setAttribute("aria-pressed", String(playing));
}

function step() {
  pause();
  const roll = race.advance();
  if (roll === null) return;
  find("spoken").textContent = sentence(roll);
  stale = true;
  write();
}

function ending() {
  const { plain: left, dice: right } = race.runners;
  const stopped = Object.entries({ Plain: left, Dice: right })
    .filter(([, { stopped: at }]) => at !== null)
    .map(([name, { stopped: at }]) => `${name} training ran off to infinity at step ${at} and was stopped`);
  if (race.steps >= LONGEST) stopped.push(`A race ends after ${LONGEST} steps`);
  return stopped.length ? `${stopped.join(". ")}. Restart, or choose a smaller learning rate.` : "";
}

/** What the page had to change, or to stop. */
function say(texts) {
  find("said").textContent = texts.join(" ");
  find("said").hidden = texts.length === 0;
}

let writing = null;
function write() {
  stale = true;
  if (writing !== null) return;
  writing = setTimeout(() => {
    writing = null;
    history.replaceState(null, "", `#${address()}`);
  }, WRITTEN);
}

function address() {
  return format(spec, { settings: origin, steps: race.steps, changes, lesson: lessons.current });
}

function redraw() {
  stale = true;
  if (!race) return;
  for (const panel of panels) panel.reset(race.settings.surface);
  const small = panels.some(({ ready }) => !ready);
  find("unseen").hidden = !small;
}

function frame(now) {
  requestAnimationFrame(frame);
  const elapsed = clock === null ? 0 : Math.min((now - clock) / 1000, 0.25);
  clock = now;
  let rolled = false;
  if (playing) {
    due += elapsed * race.settings.speed;
    for (; due >= 1 && playing; due -= 1) {
      rolled = race.advance() !== null || rolled;
      if (race.over || race.steps >= until) {
        pause();
        say([`${race.steps} steps played.`]);
      }
    }
  }
  if (rolled || stale) draw();
}

function draw() {
  const began = performance.now();
  stale = false;
  for (const panel of panels) panel.frame(race);
  drawChart(find("chart"), race, [plain(), ...mean(), dice({ width: 1.6 })]);
  throwView.frame(race, !playing || race.settings.speed <= TUMBLES);
  controls.show(race.settings);
  find("step-count").textContent = race.steps;
  for (const kind of ["plain", "dice", "mean"]) {
    const { losses, stopped } = race.runners[kind];
    const loss = losses[losses.length - 1];
    find(`${kind}-loss`).textContent = stopped === null ? round(loss) : `diverged at step ${stopped}`;
  }
  if (race.throw.mean <= 0) find("mean-loss").textContent = "stands still, as E[s] is not above 0";
  find("mean-legend").hidden = race.settings.mean !== "on";
  const end = ending();
  if (find("ended").textContent !== end) find("ended").textContent = end;
  find("ended").hidden = end === "";
  describe();
  drawn.push(performance.now() - began);
  if (drawn.length > 600) drawn.shift();
}

function describe() {
  if (playing) return; // read when it stands still
  for (const kind of ["plain", "dice"]) {
    const { weights, losses } = race.runners[kind];
    const where = weights.map((w) => round(w)).join(", ");
    const what = `${SURFACES[race.settings.surface].name}, ${kind} training after ${race.steps} steps`;
    const said = `${what}: weights ${where}, loss ${round(losses[losses.length - 1])}`;
    find(`${kind}-map`).setAttribute("aria-label", said);
  }
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  find("theme").textContent = name === "dark" ? "Light" : "Dark";
  forgetColours();
  redraw();
}

async function copyLink() {
  history.replaceState(null, "", `#${address()}`);
  try {
    await navigator.clipboard.writeText(location.href);
    say(["The address of this race was copied: whoever opens it sees the same rolls."]);
  } catch {
    say(["The address bar holds this race: copy it from there."]);
  }
}

find("play").addEventListener("click", () => (playing ? pause() : play()));
find("step").addEventListener("click", step);
find("restart").addEventListener("click", () => {
  pause();
  restart(race.settings);
  say([]);
  write();
});
find("share").addEventListener("click", copyLink);
find("theme").addEventListener("click", () => {
  theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
});
for (const panel of panels) {
  panel.canvas.addEventListener("click", ({ offsetX, offsetY }) => {
    if (!panel.ready) return;
    const [x, y] = panel.weightsAt(offsetX, offsetY);
    set({ x, y });
  });
}
// Not location.hash: the page may have written its own there before this is called.
window.addEventListener("hashchange", ({ newURL }) => begin({ address: new URL(newURL).hash }));
new ResizeObserver(redraw).observe(find("dice-map"));

// For whoever looks from the console, and for the tests: the parts, and the race that is seen.
window.lightningDice = {
  ...{ Race, Throw, SURFACES, OPTIMIZERS, complete, face, format, parse, read, spec, tables },
  drawn,
  get race() {
    return race;
  },
};
theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
begin({ address: location.hash });
requestAnimationFrame(frame);
