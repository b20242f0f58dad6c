// Rolls as a pure function of (seed, stream, step): the counter-based generator of the Python core,
// Philox 4x64-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), word for
// word. Nothing is drawn in sequence, so a replayed race sees the same rolls.

const MASK = (1n << 64n) - 1n;
const MULTIPLIERS = [0xd2e7470ee14c6c93n, 0xca5a826395121157n];
const WEYL = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];
const ROUNDS = 10;

/** Four words of 64 bits for a counter of four and a key of two. */
export function philox(counter, key) {
  let [a, b, c, d] = counter;
  let [k, l] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const ac = MULTIPLIERS[0] * a;
    const ca = MULTIPLIERS[1] * c;
    [a, b, c, d] = [(ca >> 64n) ^ b ^ k, ca & MASK, (ac >> 64n) ^ d ^ l, ac & MASK];
    k = (k + WEYL[0]) & MASK;
    l = (l + WEYL[1]) & MASK;
  }
  return [a, b, c, d];
}

/** Words by index, for one seed and stream; four are drawn at a time, and the newest are kept. */
export class Words {
  constructor(seed, stream) {
    this.key = [BigInt(seed), BigInt(stream)];
    this.kept = new Map();
  }

  at(index, attempt = 0) {
    const block = Math.floor(index / 4);
    const name = `${block}/${attempt}`;
    let four = this.kept.get(name);
    if (!four) {
      if (this.kept.size > 4096) this.kept.clear();
      // The generator adds 1 to its counter before it draws.
      four = philox([(BigInt(block) + 1n) & MASK, 0n, BigInt(attempt), 0n], this.key);
      this.kept.set(name, four);
    }
    return four[index % 4];
  }
}

/** The face that a word shows, or null where it would favour some: above the largest multiple. */
export function face(word, sides) {
  const n = BigInt(sides);
  const range = MASK + 1n;
  return word > range - (range % n) - 1n ? null : Number(word % n) + 1;
}

/** What every die of a throw shows at a step. */
export function faces(words, die, step) {
  return Array.from({ length: die.count }, (_, i) => {
    for (let attempt = 0; ; attempt++) {
      const shown = face(words.at(step * die.count + i, attempt), die.sides);
      if (shown !== null) return shown;
    }
  });
}

/** The one of these faces that counts. */
export function kept(shown, die) {
  return die.keep === "lowest" ? Math.min(...shown) : Math.max(...shown);
}

/** Two independent standard normal numbers of a step (Box and Muller, 1958). */
export function normals(words, step) {
  const unit = (word) => Number(word >> 11n) / 2 ** 53;
  const radius = Math.sqrt(-2 * Math.log(1 - unit(words.at(2 * step))));
  const angle = 2 * Math.PI * unit(words.at(2 * step + 1));
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}
