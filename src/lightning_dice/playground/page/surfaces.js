// Losses of two weights, each with its gradient, its lowest value and the window that shows what
// happens on it: left, right, bottom, top.

export const SURFACES = {
  bowl: {
    name: "ill-conditioned bowl",
    formula: "½ (x² + 25 y²)",
    loss: (x, y) => 0.5 * (x * x + 25 * y * y),
    gradient: (x, y) => [x, 25 * y],
    lowest: 0,
    minima: [[0, 0]],
    window: [-4, 4, -3, 3],
    start: [-3.4, 2],
    noise: 0,
    rates: { sgd: 0.03, momentum: 0.01, adam: 0.1, adamw: 0.1 },
  },
  rosenbrock: {
    name: "Rosenbrock",
    formula: "(1 − x)² + 10 (y − x²)²",
    loss: (x, y) => (1 - x) ** 2 + 10 * (y - x * x) ** 2,
    gradient: (x, y) => [-2 * (1 - x) - 40 * x * (y - x * x), 20 * (y - x * x)],
    lowest: 0,
    minima: [[1, 1]],
    window: [-2, 2, -0.8, 2.2],
    start: [-1.5, 1.6],
    noise: 0,
    rates: { sgd: 0.005, momentum: 0.002, adam: 0.05, adamw: 0.05 },
  },
  himmelblau: {
    name: "Himmelblau",
    formula: "(x² + y − 11)² + (x + y² − 7)²",
    loss: (x, y) => (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2,
    gradient: (x, y) => {
      const a = x * x + y - 11;
      const b = x + y * y - 7;
      return [4 * x * a + 2 * b, 2 * a + 4 * y * b];
    },
    lowest: 0,
    minima: [
      [3, 2],
      [-2.805118, 3.131313],
      [-3.77931, -3.283186],
      [3.584428, -1.848127],
    ],
    window: [-6, 6, -4.5, 4.5],
    start: [-0.4, -1.2],
    noise: 0,
    rates: { sgd: 0.005, momentum: 0.001, adam: 0.1, adamw: 0.1 },
  },
  saddle: {
    name: "saddle",
    formula: "½ x² − ½ y² + ¼ y⁴",
    loss: (x, y) => 0.5 * x * x - 0.5 * y * y + 0.25 * y ** 4,
    gradient: (x, y) => [x, y ** 3 - y],
    lowest: -0.25,
    minima: [
      [0, 1],
      [0, -1],
    ],
    window: [-2.4, 2.4, -1.8, 1.8],
    start: [-2, 0.01],
    noise: 0,
    rates: { sgd: 0.05, momentum: 0.02, adam: 0.05, adamw: 0.05 },
  },
  ravine: {
    name: "noisy ravine",
    formula: "0.05 x² + 2 (y − sin x)²",
    loss: (x, y) => 0.05 * x * x + 2 * (y - Math.sin(x)) ** 2,
    gradient: (x, y) => {
      const off = y - Math.sin(x);
      return [0.1 * x - 4 * off * Math.cos(x), 4 * off];
    },
    lowest: 0,
    minima: [[0, 0]],
    window: [-5, 5, -3.75, 3.75],
    start: [-4.5, 3],
    noise: 0.5,
    rates: { sgd: 0.1, momentum: 0.02, adam: 0.1, adamw: 0.1 },
  },
};
