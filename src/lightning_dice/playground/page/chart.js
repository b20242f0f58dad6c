// The loss of every runner against the steps, above its lowest value, on a logarithmic axis.

import { SURFACES } from "./surfaces.js";
import { colour } from "./panels.js";

const FLOOR = 1e-8; // as good as there
const COLUMNS = 700;

export function drawChart(canvas, race, lines) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (width < 16 || height < 16) return;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const { lowest } = SURFACES[race.settings.surface];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const font = 11 * ratio;
  const box = { left: 3.6 * font, right: width - font, top: 0.8 * font, bottom: height - 1.9 * font };
  const toHeight = ([step, loss]) => [step, Math.log10(Math.max(loss - lowest, FLOOR))];
  const highest = Math.ceil(toHeight([0, race.runners.plain.losses[0]])[1] + 0.3);
  const curves = lines.map((line) => ({ ...line, values: thin(line.runner.losses).map(toHeight) }));
  const reached = Math.min(...curves.flatMap(({ values }) => values.map(([, value]) => value)));
  const deepest = Math.min(Math.floor(reached), highest - 3);
  const longest = Math.max(50, race.steps);
  const across = (step) => box.left + (step / longest) * (box.right - box.left);
  const down = (value) => {
    const share = (highest - Math.min(value, highest)) / (highest - deepest);
    return box.top + share * (box.bottom - box.top);
  };

  context.font = `${font}px system-ui, sans-serif`;
  context.fillStyle = colour("--soft");
  context.strokeStyle = colour("--rule");
  context.lineWidth = ratio;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const every = Math.ceil((highest - deepest) / 4);
  for (let power = highest; power >= deepest; power -= every) {
    context.beginPath();
    context.moveTo(box.left, down(power));
    context.lineTo(box.right, down(power));
    context.stroke();
    context.fillText(decimal(power), box.left - 0.5 * font, down(power));
  }
  context.textBaseline = "alphabetic";
  context.textAlign = "left";
  context.fillText("0", box.left, height - 0.5 * font);
  context.textAlign = "right";
  context.fillText(`${longest} steps`, box.right, height - 0.5 * font);

  for (const { values, stroke, dash, width: thickness } of curves) {
    context.strokeStyle = colour(stroke);
    context.lineWidth = (thickness + 0.4) * ratio;
    context.setLineDash(dash.map((d) => d * ratio));
    context.lineJoin = "round";
    context.beginPath();
    for (const [step, value] of values) context.lineTo(across(step), down(value));
    context.stroke();
    context.setLineDash([]);
  }
}

/** About as many of the losses as there are columns to draw them in, each with its step. */
function thin(losses) {
  const stride = Math.max(1, Math.floor(losses.length / COLUMNS));
  const steps = [];
  for (let step = 0; step < losses.length - 1; step += stride) steps.push(step);
  return [...steps, losses.length - 1].map((step) => [step, losses[step]]);
}

function decimal(power) {
  if (power >= 0 && power <= 3) return String(10 ** power);
  if (power < 0 && power >= -2) return (10 ** power).toFixed(-power);
  return `1e${power}`;
}
