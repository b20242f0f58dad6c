// Optimizers of torch.optim for two weights, with PyTorch's defaults and in PyTorch's order of
// operations. Each `step` gives what is to be added to the weights and moves its own state on.

export const OPTIMIZERS = {
  sgd: { name: "SGD", settings: "" },
  momentum: { name: "SGD with momentum", settings: "momentum 0.9" },
  adam: { name: "Adam", settings: "betas 0.9 and 0.999" },
  adamw: { name: "AdamW", settings: "betas 0.9 and 0.999, weight decay 0.01" },
};

const MOMENTUM = 0.9;
const BETAS = [0.9, 0.999];
const EPSILON = 1e-8;
const WEIGHT_DECAY = 0.01;

export function optimizer(kind) {
  if (kind === "sgd" || kind === "momentum") return new SGD(kind === "momentum" ? MOMENTUM : 0);
  return new Adam(kind === "adamw" ? WEIGHT_DECAY : 0);
}

class SGD {
  constructor(momentum) {
    this.momentum = momentum;
    this.velocity = null;
  }

  copy() {
    const other = new SGD(this.momentum);
    other.velocity = this.velocity && [...this.velocity];
    return other;
  }

  step(weights, gradient, rate) {
    let direction = gradient;
    if (this.momentum) {
      direction = this.velocity
        ? this.velocity.map((v, i) => this.momentum * v + gradient[i])
        : [...gradient];
      this.velocity = direction;
    }
    return direction.map((d) => -rate * d);
  }
}

class Adam {
  constructor(decay) {
    this.decay = decay; // decoupled, as AdamW has it
    this.count = 0;
    this.mean = [0, 0];
    this.square = [0, 0];
  }

  copy() {
    const other = new Adam(this.decay);
    other.count = this.count;
    other.mean = [...this.mean];
    other.square = [...this.square];
    return other;
  }

  step(weights, gradient, rate) {
    this.count += 1;
    this.mean = this.mean.map((m, i) => m + (gradient[i] - m) * (1 - BETAS[0]));
    this.square = this.square.map((s, i) => s * BETAS[1] + (1 - BETAS[1]) * gradient[i] ** 2);
    const size = rate / (1 - BETAS[0] ** this.count);
    const root = Math.sqrt(1 - BETAS[1] ** this.count);
    return weights.map((w, i) => {
      const shrunk = -rate * this.decay * w;
      return shrunk - (size * this.mean[i]) / (Math.sqrt(this.square[i]) / root + EPSILON);
    });
  }
}
