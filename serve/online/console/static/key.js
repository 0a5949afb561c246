// The key field: opens where the server asks for a key.

import { at } from "./elements.js";

export class KeyField {
  #form = at("key-form");
  #toggle = at("key-toggle");

  // Args: api keeps the key; changed() is called when there is another one, or none.
  constructor(api, changed) {
    this.#toggle.addEventListener("click", () => this.#toggled());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#use(api, at("key").value.trim(), changed);
    });
    at("key-forget").addEventListener("click", () => this.#use(api, "", changed));
    at("live-key").addEventListener("click", () => {
      this.#open(true);
      at("key").focus();
    });
  }

  // Opens it, and leaves the focus to whoever types elsewhere.
  ask(text) {
    at("key-text").textContent = text;
    this.#open(true);
  }

  #use(api, key, changed) {
    api.key = key;
    at("key").value = "";
    at("key-text").textContent = "";
    this.#open(false);
    this.#toggle.focus();
    changed();
  }

  #toggled() {
    this.#open(this.#form.hidden);
    if (!this.#form.hidden) at("key").focus();
  }

  #open(open) {
    this.#form.hidden = !open;
    this.#toggle.setAttribute("aria-expanded", String(open));
  }
}
