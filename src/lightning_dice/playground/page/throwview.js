// The die, what it came to, what arrived, and the odds with the counts that fill them in.

import { find } from "./dom.js";
import { OUTCOMES } from "./throws.js";

export const NAMES = {
  critical_failure: "critical failure",
  failure: "failure",
  success: "success",
  critical_success: "critical success",
};

// Outlines in a box of 100 x 100: the die as it lies, and the edges that are seen inside it.
const SHAPES = {
  4: ["50,8 94,86 6,86", "50,8 50,60 6,86 50,60 94,86"],
  6: ["14,14 86,14 86,86 14,86", ""],
  8: ["50,4 92,50 50,96 8,50", "8,50 92,50"],
  10: ["50,4 94,46 86,66 50,96 14,66 6,46", "6,46 32,58 50,4 68,58 94,46 68,58 50,66 32,58"],
  12: ["50,4 94,37 77,90 23,90 6,37", "50,24 75,42 66,72 34,72 25,42 50,24"],
  20: ["50,3 91,26 91,74 50,97 9,74 9,26", "50,3 77,68 23,68 50,3 M9,26 23,68 50,97 77,68 91,26"],
};

export class ThrowView {
  constructor() {
    this.rule = null;
  }

  frame(race, tumble) {
    if (this.rule !== race.throw) this.renew(race);
    this.roll(race.last, race, tumble);
    this.counts(race);
  }

  renew(race) {
    this.rule = race.throw;
    const { die, mean, fraction, efficiency, square } = race.throw;
    const [outline, edges] = SHAPES[die.sides];
    find("die-outline").setAttribute("points", outline);
    find("die-edges").setAttribute("d", edges ? path(edges) : "");
    find("expected").textContent = `${round(mean)}${exact(race.throw, fraction)}`;
    find("efficiency").textContent = `${round(efficiency)}`;
    find("rms").textContent = round(Math.sqrt(square));
    for (const [i, outcome] of OUTCOMES.entries()) {
      const row = find("odds").rows[i];
      row.querySelector(".faces").textContent = facesOf(race.throw, outcome);
      row.querySelector(".chance").textContent = percent(race.throw.probability[outcome]);
      row.style.setProperty("--expected", race.throw.probability[outcome]);
    }
    find("faces").replaceChildren(...race.throw.scales.map((_, i) => bar(race.throw, i + 1)));
    const largest = Math.max(1, ...race.throw.scales.map((s) => Math.abs(s ?? 0)));
    find("faces").style.setProperty("--largest", largest);
    find("faces").setAttribute("aria-label", inWords(race.throw));
    this.shown = null;
  }

  roll(last, race, tumble) {
    if (this.shown === last) return;
    const changed = this.shown;
    this.shown = last;
    find("thrown").dataset.outcome = last ? last.outcome : "";
    find("die-face").textContent = last ? last.natural : "–";
    for (const column of find("faces").children) {
      column.classList.toggle("now", Boolean(last) && Number(column.dataset.face) === last.natural);
    }
    if (!last) {
      find("outcome").textContent = "Not rolled yet";
      find("scale").textContent = find("arrived").textContent = "–";
      find("others").textContent = find("newest").textContent = "";
      meter("rolled-bar", null);
      meter("arrived-bar", null);
      return;
    }
    const { outcome, scale, arrived, shown, total, natural: face } = last;
    find("outcome").textContent = NAMES[outcome];
    find("others").textContent = [
      shown.length > 1 ? `${shown.join(" and ")} were rolled.` : "",
      total === face ? "" : `${face} ${total > face ? "+" : "−"} ${Math.abs(total - face)} = ${total}.`,
    ].join(" ");
    find("scale").textContent = scale === null ? "discard" : `× ${signed(scale)}`;
    find("newest").textContent = `${face}: ${find("scale").textContent}`;
    find("arrived").textContent = arrived === null ? "–" : `× ${signed(arrived)}`;
    meter("rolled-bar", scale ?? 0);
    meter("arrived-bar", arrived);
    if (tumble && changed !== last) {
      const die = find("thrown");
      die.classList.remove("tumble");
      void die.getBoundingClientRect(); // so that the animation starts again
      die.classList.add("tumble");
    }
  }

  counts({ observed, throw: rule }) {
    const { rolls } = observed;
    for (const [i, outcome] of OUTCOMES.entries()) {
      const row = find("odds").rows[i];
      const seen = observed.outcomes[outcome];
      row.querySelector(".count").textContent = seen;
      row.querySelector(".usual").textContent = (rolls * rule.probability[outcome]).toFixed(1);
      row.style.setProperty("--observed", rolls ? seen / rolls : 0);
    }
    find("rolls").textContent = rolls;
    find("so-far").textContent = rolls ? round(observed.scales / rolls) : "–";
    const { arrivals, arrived } = observed;
    find("arrived-so-far").textContent = arrivals ? round(arrived / arrivals) : "–";
  }
}

/** What a roll came to, in a sentence for those who do not see the die. */
export function sentence({ natural: face, outcome, scale, arrived }) {
  const rolled = scale === null ? "the update is discarded" : `scale ${round(scale)}`;
  const came = arrived === null ? "" : `; ${round(arrived)} of the optimizer’s own step arrived`;
  return `${face}: ${NAMES[outcome]}, ${rolled}${came}.`;
}

function path(edges) {
  return edges.split(" M").map((line) => `M${line.replaceAll(" ", " L")}`).join(" ");
}

function facesOf(rule, outcome) {
  const own = rule.outcomes.flatMap((o, i) => (o === outcome ? [i + 1] : []));
  if (!own.length) return "none";
  return own.length === 1 ? `${own[0]}` : `${own[0]}–${own[own.length - 1]}`;
}

function bar(rule, face) {
  const column = document.createElement("span");
  const scale = rule.scales[face - 1];
  column.dataset.face = face;
  column.dataset.outcome = rule.outcomes[face - 1];
  column.className = scale === null ? "face discard" : "face";
  column.style.setProperty("--scale", scale ?? 0);
  column.title = `${face}: ${scale === null ? "discard" : round(scale)}`;
  return column;
}

function inWords(rule) {
  const said = rule.scales.map((s, i) => `${i + 1}: ${s === null ? "discard" : round(s)}`);
  return `Scale by face. ${said.join(", ")}`;
}

function meter(id, value) {
  const element = find(id);
  const share = Math.min(Math.max(value ?? 0, -1.5), 1.5);
  element.style.setProperty("--share", share);
  element.classList.toggle("backwards", share < 0);
}

function exact(rule, [top, bottom]) {
  return bottom > 1 && Math.abs(rule.mean - top / bottom) < 1e-12 ? ` = ${top}/${bottom}` : "";
}

export function round(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1000 || size < 1e-3 ? size.toExponential(1) : String(Number(size.toPrecision(3)));
  return value < 0 ? `−${text}` : text;
}

function signed(value) {
  return (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(2);
}

function percent(share) {
  return `${Number((100 * share).toPrecision(3))} %`;
}
