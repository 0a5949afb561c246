// What goes on now: /v1/live every two seconds, while the page is seen.

import { at, bar, facts, hue, make, named } from "./elements.js";
import { count, counted, percent, usd } from "./numbers.js";

const EVERY_MS = 2000;

const saved = (against) =>
  `sum(ray_pointsman_cost_saved_usd_total{against="${against}"}) - ` +
  `sum(ray_pointsman_cost_lost_usd_total{against="${against}"})`;

// name, what it equals in Prometheus, how it reads in /v1/live
const TOTALS = [
  ["Requests", "sum(ray_pointsman_requests_total)", (live) => count(live.requests)],
  ["Spent", "sum(ray_pointsman_cost_usd_total)", (live) => usd(live.cost_usd)],
  ["Saved against best single", saved("best_single"), (live) => usd(live.saved_usd.best_single)],
  ["Saved against priciest", saved("priciest"), (live) => usd(live.saved_usd.priciest)],
  ["Guard", "max(ray_pointsman_guard_active)", (live) => (live.guard_active ? "decides" : "at rest")],
  ["Unlike training", "avg(ray_pointsman_ood_ratio)", (live) => percent(live.ood_ratio)],
];
const OF_EXPERTS = {
  share: ["Share", "avg by (expert) (ray_pointsman_expert_share)"],
  requests: ["Requests of an expert", "sum by (expert) (ray_pointsman_requests_total)"],
  cost: ["Spent on an expert", "sum by (expert) (ray_pointsman_cost_usd_total)"],
  tokens: ["Output tokens of an expert", `sum by (expert) (ray_pointsman_usage_tokens_total{direction="output"})`],
  queue: ["Under way at an expert", "sum by (expert) (ray_pointsman_expert_queue_depth)"],
};

export class Live extends EventTarget {
  #api;
  #timer = 0;
  #asking = new AbortController();
  #shown = "";

  constructor(api) {
    super();
    this.#api = api;
    at("live-metrics").append(...facts([...TOTALS, ...Object.values(OF_EXPERTS)]));
    document.addEventListener("visibilitychange", () => this.restart());
  }

  // Asks now and from now on, or not while nobody looks.
  restart() {
    clearTimeout(this.#timer);
    this.#asking.abort();
    this.#asking = new AbortController();
    if (document.visibilityState === "visible") this.#poll(this.#asking.signal);
  }

  // Sends `live` events, whose detail is a new /v1/live or null, and `denied` ones: the error.
  async #poll(signal) {
    try {
      const live = await this.#api.get("v1/live", signal);
      this.#heard(live);
    } catch (error) {
      if (signal.aborted) return;
      this.#shown = "";
      at("live").hidden = true;
      at("live-of").textContent = error.message;
      this.#tell("live", null);
      if (error.status === 401 || error.status === 403) {
        at("live-key").hidden = false;
        this.#tell("denied", error);
        return;
      }
    }
    this.#timer = setTimeout(() => this.#poll(signal), EVERY_MS);
  }

  #heard(live) {
    const text = JSON.stringify(live);
    if (text === this.#shown) return;
    this.#shown = text;
    this.#show(live);
    this.#tell("live", live);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #show(live) {
    at("live").hidden = false;
    at("live-key").hidden = true;
    at("router").textContent = live.router;
    at("live-of").textContent =
      `Of ${counted(live.replicas, "replica")} since the start; shares of the last 500 routed requests. ` +
      `Best single: ${live.best_single}; priciest: ${live.priciest}.`;
    const tiles = facts(TOTALS.map(([name, , read]) => [name, read(live)]));
    tiles.forEach((tile, i) => (tile.title = TOTALS[i][1]));
    at("live-totals").replaceChildren(...tiles);
    at("live-experts").replaceChildren(...live.experts.map(expertItem));
  }
}

function expertItem(expert) {
  const share = titled("number share-number", percent(expert.share), OF_EXPERTS.share);
  const rest = make("span", "rest muted");
  rest.append(
    titled("", counted(expert.requests, "request"), OF_EXPERTS.requests),
    titled("", usd(expert.cost_usd), OF_EXPERTS.cost),
    titled("", counted(expert.output_tokens, "token"), OF_EXPERTS.tokens),
    titled("", `${expert.queue_depth} under way`, OF_EXPERTS.queue),
  );
  const item = make("li", "", named(expert.id), bar(expert.share, hue(expert.id)), share, rest);
  item.dataset.expert = expert.id;
  return item;
}

function titled(className, text, [, metric]) {
  const element = make("span", className, text);
  element.title = metric;
  return element;
}
