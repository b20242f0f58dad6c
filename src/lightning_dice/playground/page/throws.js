// Saving throws, looked up in the tables that the Python core computed when this page was built.
// Nothing here knows a rule: it only divides one exact number by another.

export const OUTCOMES = ["critical_failure", "failure", "success", "critical_success"];

export class Throw {
  /** `tables` is what the page carries; `settings` are die, threshold, scaling and normalize. */
  constructor(tables, { die, threshold, scaling, normalize }) {
    this.die = tables.dice[die];
    const row = this.die.thresholds[threshold - 1];
    const { raw, over, mean, square, rms } = row.scalings[scaling];
    // A mean that is not above 0 cannot be made 1: then the scales stay as they are.
    this.normalizable = normalize !== "mean" || mean[0] > 0;
    const divisor = divisorOf(this.normalizable ? normalize : "none", mean, rms);
    this.scales = raw.map((scale) => (scale === null ? null : divisor(scale, over)));
    this.outcomes = [...row.outcomes].map((digit) => OUTCOMES[Number(digit)]);
    this.chances = this.die.chances;
    this.probability = Object.fromEntries(OUTCOMES.map((o, i) => [o, row.probability[i]]));
    this.mean = divisor(...mean);
    this.square = divisor(divisor(...square), 1);
    this.fraction = mean; // before any division, exactly
    this.efficiency = row.scalings[scaling].efficiency;
  }

  roll(natural) {
    return {
      natural,
      total: natural + this.die.modifier,
      outcome: this.outcomes[natural - 1],
      scale: this.scales[natural - 1],
    };
  }
}

function divisorOf(normalize, mean, rms) {
  if (normalize === "mean") return (top, bottom) => (top * mean[1]) / (bottom * mean[0]);
  if (normalize === "rms") return (top, bottom) => top / bottom / rms;
  return (top, bottom) => top / bottom;
}
