// The candidates of one decision: what the router expects of each, and who is asked.

import { at, bar, hue, make, named } from "./elements.js";
import { quality, seconds, usd } from "./numbers.js";

export class Candidates {
  #table = at("candidates");
  #pick = at("pick");
  #reason = at("reason");

  // Whether another decision is on its way.
  busy(is) {
    this.#pick.ariaBusy = String(is);
  }

  // A text in place of the table.
  say(text) {
    this.busy(false);
    this.#table.hidden = true;
    this.#pick.textContent = text;
    this.#reason.textContent = "";
  }

  // Args: a decision as in /v1/route; the expert that it goes to, or null; whether it answers now.
  show(decision, expert, answers) {
    this.busy(false);
    const dearest = Math.max(...decision.experts.map((candidate) => candidate.cost_usd));
    const rows = decision.experts.map((candidate) =>
      row(candidate, dearest, candidate.id === expert && (answers ? "answers" : "pick")),
    );
    this.#table.tBodies[0].replaceChildren(...rows);
    this.#table.hidden = false;
    if (expert === null) this.#pick.textContent = "No expert may answer this";
    else this.#pick.replaceChildren(answers ? "Answers: " : "Would answer: ", named(expert));
    this.#reason.textContent = reason(decision);
  }
}

function row(candidate, dearest, mark) {
  const name = make("th", "", named(candidate.id));
  name.scope = "row";
  if (mark) name.append(" ", make("span", "mark", mark));
  if (candidate.barred) name.append(make("span", "barred", candidate.barred));
  const of = [
    name,
    cell(quality(candidate.quality), bar(candidate.quality, hue(candidate.id))),
    cell(usd(candidate.cost_usd), bar(candidate.cost_usd / dearest)),
    cell(seconds(candidate.seconds)),
  ];
  const element = make("tr", `${mark ? "picked" : ""} ${candidate.barred ? "out" : ""}`, ...of);
  element.dataset.expert = candidate.id;
  return element;
}

const cell = (text, ...more) => make("td", "", make("span", "number", text), ...more);

function reason(decision) {
  const who = decision.guarded
    ? "The guard decided, for the best single expert of this cost level."
    : "The router decided.";
  if (decision.novelty === null) return who;
  const like = decision.novelty < 1 ? "like its training prompts" : "unlike any training prompt";
  return `${who} Novelty ${decision.novelty.toFixed(2)}: ${like}.`;
}
