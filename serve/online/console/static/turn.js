// One answer in the log: its text as it comes, then what it took, then what it was worth.

import { at, facts, hue, make } from "./elements.js";
import { count, seconds, usd } from "./numbers.js";

const END_PX = 40;

export class Turn {
  #root = at("answer").content.firstElementChild.cloneNode(true);
  #log = at("log");
  #facts = new Map();

  constructor(question) {
    this.#log.append(make("p", "question", question), this.#root);
    this.#root.scrollIntoView({ block: "end" });
  }

  // Args: of the response.
  began(headers) {
    const expert = headers.get("x-pointsman-expert");
    this.#one(".name").textContent = expert;
    this.#one(".dot").classList.add(hue(expert));
    this.#told("Request", headers.get("x-request-id"));
    const fallback = headers.get("x-pointsman-fallback");
    if (fallback) this.#told("Asked before", fallback);
    const decision = headers.get("x-pointsman-decision-ms");
    if (decision) this.#told("Decision", `${decision} ms`);
  }

  firstToken(milliseconds) {
    this.#told("First token", seconds(milliseconds / 1000));
  }

  said(text) {
    this.#grow(".text", text);
  }

  thought(text) {
    this.#one(".thought").hidden = false;
    this.#grow(".thought", text);
  }

  took(usage) {
    this.#told("Tokens", `${count(usage.prompt_tokens)} in, ${count(usage.completion_tokens)} out`);
    this.#told("Cost", usd(usage.cost_usd));
    this.#told("By the best single", usd(usage.cost_usd_best_single));
    this.#told("By the priciest", usd(usage.cost_usd_priciest));
  }

  // It reached the limit of its tokens.
  cut() {
    this.#told("Ended", "at its limit of tokens");
  }

  stopped() {
    this.#told("Ended", "you stopped it");
  }

  failed(text) {
    this.#one(".error").textContent = text;
    this.#one(".error").hidden = false;
  }

  over() {
    this.#root.setAttribute("aria-busy", "false");
    this.#keepEnd(() => this.#one(".facts").replaceChildren(...facts(this.#facts)));
  }

  // Args: send(score) resolves to what to say of it; null: feedback is not kept here.
  ratedBy(send) {
    const group = this.#one(".feedback");
    const buttons = [...group.querySelectorAll("button")];
    const rate = async (button, score) => {
      if (buttons.some((each) => each.ariaPressed === "true")) return;
      button.ariaPressed = "true";
      group.querySelector("[role=status]").textContent = await send(score);
    };
    buttons.forEach((button, i) => button.addEventListener("click", () => rate(button, 1 - i)));
    group.hidden = false;
  }

  #one(selector) {
    return this.#root.querySelector(selector);
  }

  #told(name, text) {
    this.#facts.set(name, text);
  }

  #grow(selector, text) {
    this.#keepEnd(() => this.#one(selector).append(text));
  }

  // Whoever reads the end goes on reading the end.
  #keepEnd(change) {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    const atEnd = scrollHeight - scrollTop - clientHeight < END_PX;
    change();
    if (atEnd) this.#log.scrollTop = this.#log.scrollHeight;
  }
}
