// The form of settings: it shows what is set, and says what a person has set.

import { SURFACES } from "./surfaces.js";
import { OPTIMIZERS } from "./optimizers.js";
import { find } from "./dom.js";
import { read } from "./settings.js";

const LOGARITHMIC = ["lr", "clipnorm", "speed"];
const form = () => find("settings");
const named = (name) => form().elements.namedItem(name);

export class Controls {
  /** `changed(key, value)` hears of every setting; `say` of what could not be had as it was typed. */
  constructor(spec, changed, say) {
    this.spec = spec;
    this.changed = changed;
    fillOptions("surface", Object.entries(SURFACES).map(([key, { name }]) => [key, name]));
    fillOptions("optimizer", Object.entries(OPTIMIZERS).map(([key, { name }]) => [key, name]));
    for (const key of ["die", "scaling"]) {
      fillOptions(key, spec[key].options.map((option) => [option, option]));
    }
    document.addEventListener("submit", (event) => event.preventDefault());
    for (const element of form().elements) this.listen(element, say);
  }

  listen(element, say) {
    const { name } = element;
    if (!name) return;
    const slider = name.endsWith("-slider");
    const key = slider ? name.slice(0, -"-slider".length) : name;
    element.addEventListener(slider ? "input" : "change", () => {
      const text = slider ? String(this.fromSlider(key, Number(element.value))) : textOf(element);
      const { value, said } = read(this.spec, key, text, this.settings);
      if (said) say([said]);
      this.changed(key, value);
    });
  }

  show(settings) {
    this.settings = settings;
    for (const key of Object.keys(this.spec)) {
      const element = named(key);
      if (element && element !== document.activeElement) {
        if (element.type === "checkbox") element.checked = settings[key] === "on";
        else element.value = settings[key];
      } else if (element?.type === "number" && Number(element.value) !== settings[key]) {
        element.value = settings[key];
      }
      const slider = named(`${key}-slider`);
      if (slider) {
        if (key === "threshold") slider.max = this.spec.threshold.most(settings);
        slider.value = this.toSlider(key, settings[key]);
        slider.setAttribute("aria-valuetext", settings[key]);
      }
    }
    named("threshold").max = this.spec.threshold.most(settings);
    const { formula } = SURFACES[settings.surface];
    find("formula").textContent = formula;
    find("optimizer-settings").textContent = OPTIMIZERS[settings.optimizer].settings;
    find("speed").textContent = Math.round(settings.speed);
    const { target, clip } = settings;
    find("clipnorm-row").hidden = clip === "off";
    for (const element of [named("discard"), named("clip").querySelector("[value=after]")]) {
      // Of an update there is no gradient left to be clipped or set to zero.
      element.disabled = target === "update";
    }
  }

  toSlider(key, value) {
    return LOGARITHMIC.includes(key) ? Math.log10(value) : value;
  }

  fromSlider(key, value) {
    if (!LOGARITHMIC.includes(key)) return value;
    const number = 10 ** value;
    const { least, most } = this.spec[key];
    const digits = key === "speed" && number > 10 ? Math.round(number) : Number(number.toPrecision(2));
    return Math.min(Math.max(digits, least), most);
  }
}

function textOf(element) {
  return element.type === "checkbox" ? (element.checked ? "on" : "off") : element.value;
}

function fillOptions(name, options) {
  named(name).replaceChildren(...options.map(([value, text]) => new Option(text, value)));
}
