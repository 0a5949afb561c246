// The slider between quality and cost: who would answer at its place, and what traffic would cost.

import { at, bar, facts, hue, make, named } from "./elements.js";
import { Curve } from "./curve.js";
import { counted, percent, quality, saving, usd } from "./numbers.js";

const SETTLED_MS = 250;
const TRADEOFFS = [0, 0.25, 0.5, 0.75, 1];

export class Choice {
  #api;
  #candidates;
  #question;
  #slider = at("tradeoff");
  #asSet = at("as-set");
  #moved = false;
  #set = null;
  #curve = new Curve(at("curve"));
  #traffic = { requests: 0, points: [] };
  #bestSingle = null;
  #alone = new Map();
  #another = false;
  #timer = 0;
  #asking = new AbortController();

  // Args: question() gives {model, messages} of what would be sent now; no messages: nothing would.
  constructor(api, candidates, question) {
    this.#api = api;
    this.#candidates = candidates;
    this.#question = question;
    this.#slider.addEventListener("input", () => this.#move(true));
    this.#asSet.addEventListener("click", () => {
      this.#slider.focus();
      this.#move(false);
    });
    this.#move(false);
  }

  // The routing field for a model. The settings' own objective decides until the slider is moved;
  // a preference brings its own tradeoff, an expert needs none.
  routing(model) {
    return model === "auto" && this.#moved ? { tradeoff: this.#tradeoff } : {};
  }

  // Another question or model is there to be asked.
  changed() {
    this.#another = true;
    this.#slider.disabled = this.#asSet.disabled = this.#question().model !== "auto";
    this.#soon();
  }

  // The question was sent, and the answer brings its decision.
  sent() {
    clearTimeout(this.#timer);
    this.#asking.abort();
    this.#candidates.busy(false);
  }

  // Args: /v1/live, or null where it does not answer.
  heard(live) {
    this.#traffic = live?.curve ?? { requests: 0, points: [] };
    this.#bestSingle = live?.best_single ?? null;
    this.#set = live?.tradeoff ?? null;
    this.#place();
    this.#show();
  }

  // Args: whether to a place of its own, or back to where the settings are.
  #move(own) {
    this.#moved = own;
    this.#asSet.hidden = !own;
    this.#place();
    this.#show();
    this.#soon();
  }

  // Of the next question to auto; null: the settings' objective is none, or not known.
  get #tradeoff() {
    return this.#moved ? Number(this.#slider.value) : this.#set;
  }

  #place() {
    if (!this.#moved && this.#set !== null) this.#slider.value = this.#set;
    const told = this.#tradeoff?.toFixed(2) ?? "";
    at("tradeoff-value").textContent = this.#moved ? told : `${told} as set`.trim();
    this.#slider.setAttribute(
      "aria-valuetext",
      this.#moved ? `${told}, from quality 0 to cost 1` : "as the settings say",
    );
  }

  #soon() {
    this.sent();
    this.#candidates.busy(true);
    this.#timer = setTimeout(() => this.#ask(), SETTLED_MS);
  }

  async #ask() {
    const question = this.#question();
    if (this.#another) this.#alone.clear();
    this.#another = false;
    this.#show();
    if (question.messages.length === 0) {
      this.#candidates.say("Write a question to see who would answer it.");
      return;
    }
    if (!question.model.startsWith("auto")) {
      this.#candidates.say(`${question.model} is asked by its name: the router does not choose.`);
      return;
    }
    const { signal } = (this.#asking = new AbortController());
    try {
      const decision = await this.#decide(question, this.routing(question.model), signal);
      this.#candidates.show(decision, decision.pick, false);
      if (question.model === "auto") await this.#explore(question, signal);
    } catch (error) {
      if (!signal.aborted) this.#candidates.say(error.message);
    }
  }

  // The curve of this question alone, where there is none of the traffic.
  async #explore(question, signal) {
    for (const tradeoff of TRADEOFFS) {
      if (this.#traffic.points.length > 0) return;
      if (!this.#alone.has(tradeoff)) await this.#decide(question, { tradeoff }, signal);
    }
  }

  async #decide(question, routing, signal) {
    const decision = await this.#api.post("v1/route", { ...question, routing }, signal);
    const pick = decision.experts.find((candidate) => candidate.id === decision.pick);
    if (pick && "tradeoff" in routing) {
      const best = decision.experts.find((candidate) => candidate.id === this.#bestSingle);
      this.#alone.set(routing.tradeoff, {
        tradeoff: routing.tradeoff,
        quality: pick.quality,
        cost_usd: pick.cost_usd,
        best_single_usd: best?.cost_usd,
        priciest_usd: Math.max(...decision.experts.map((candidate) => candidate.cost_usd)),
        share: { [pick.id]: 1 },
      });
      this.#show();
    }
    return decision;
  }

  #show() {
    const { requests, points: traffic } = this.#traffic;
    const alone = [...this.#alone.values()].sort((a, b) => a.tradeoff - b.tradeoff);
    const points = traffic.length > 0 ? traffic : alone;
    at("curve-of").textContent =
      traffic.length > 0
        ? `What each tradeoff would have made of the traffic: ${counted(requests, "routed request")}.`
        : "No routed request yet. " +
          (alone.length > 0
            ? "This is the curve of your question alone."
            : "With a question, its own curve is drawn here.");
    const here = nearest(points, this.#tradeoff);
    this.#curve.show(points, here);
    at("expected").replaceChildren(...(here ? expected(here) : []));
    at("expected-share").replaceChildren(...(here ? shares(here.share) : []));
  }
}

function nearest(points, tradeoff) {
  if (tradeoff === null) return null;
  const apart = (point) => Math.abs(point.tradeoff - tradeoff);
  return points.reduce((best, p) => (best === null || apart(p) < apart(best) ? p : best), null);
}

function expected(point) {
  const pairs = [
    ["Expected quality", quality(point.quality)],
    ["Expected cost", usd(point.cost_usd)],
  ];
  if (point.best_single_usd !== undefined) {
    pairs.push(["Against best single", saving(point.cost_usd, point.best_single_usd)]);
  }
  pairs.push(["Against priciest", saving(point.cost_usd, point.priciest_usd)]);
  return facts(pairs);
}

function shares(share) {
  return Object.entries(share).map(([expert, part]) =>
    make("div", "", named(expert), bar(part, hue(expert)), make("span", "number", percent(part))),
  );
}
