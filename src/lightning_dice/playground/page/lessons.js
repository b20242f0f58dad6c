// Lessons: each presets the race, has it played, has something tried, and reveals an answer. What a
// lesson sets stands in its own attributes, in the words of the page's address.

import { find } from "./dom.js";

export class Lessons {
  /** `start(id, address)` begins a race, `play(steps)` plays so many. */
  constructor({ start, play }) {
    this.articles = [...document.querySelectorAll("article.lesson")];
    this.tabs = [...document.querySelectorAll("#lessons button")];
    this.current = undefined;
    for (const tab of this.tabs) tab.addEventListener("click", () => start(tab.dataset.lesson));
    for (const article of this.articles) {
      const { preset, steps, attempt } = article.dataset;
      const press = (action, address) => {
        article.querySelector(`[data-do=${action}]`).addEventListener("click", () => {
          start(article.id, address);
          play(Number(steps));
        });
      };
      press("play", preset);
      press("try", `${preset}&${attempt}`);
    }
  }

  /** Whether there is a lesson of this name. */
  has(id) {
    return this.articles.some((article) => article.id === id);
  }

  preset(id) {
    return this.articles.find((article) => article.id === id)?.dataset.preset ?? "";
  }

  show(id) {
    if (id === this.current) return;
    this.current = id;
    for (const article of this.articles) {
      article.hidden = article.id !== id;
      article.querySelector("details").open = false;
    }
    for (const tab of this.tabs) {
      if (tab.dataset.lesson === (id ?? "")) {
        tab.setAttribute("aria-current", "step");
        tab.scrollIntoView({ block: "nearest", inline: "center" });
      } else {
        tab.removeAttribute("aria-current");
      }
    }
    find("lesson").hidden = id === null;
  }
}
