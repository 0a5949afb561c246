// The chat: asks, streams the answer into the log, and keeps what was said for the next turn.

import { at } from "./elements.js";
import { Turn } from "./turn.js";

const NOT_KEPT = 501;

export class Conversation extends EventTarget {
  #api;
  #messages = [];
  #asking = null;
  #feedback = true;

  constructor(api) {
    super();
    this.#api = api;
  }

  get busy() {
    return this.#asking !== null;
  }

  // The messages that a draft would be sent with; without a draft, up to the last question.
  with(draft) {
    if (draft) return [...this.#messages, { role: "user", content: draft }];
    const last = this.#messages.findLastIndex((message) => message.role === "user");
    return this.#messages.slice(0, last + 1);
  }

  // Whether it was answered, in part at least: else the question is not part of the conversation.
  //
  // Sends `decided` events: {decision, expert} of who answers.
  async ask(text, model, routing) {
    const messages = this.with(text);
    const turn = new Turn(text);
    this.#asking = new AbortController();
    const asked = { model, messages, stream: true, stream_options: { include_usage: true } };
    let answer = "";
    try {
      const said = (piece) => (answer += piece);
      await this.#read({ ...asked, routing: { ...routing, explain: true } }, turn, said);
    } catch (error) {
      if (this.#asking.signal.aborted) turn.stopped();
      else turn.failed(error.message);
    }
    this.#asking = null;
    turn.over();
    if (answer) this.#messages = [...messages, { role: "assistant", content: answer }];
    return answer !== "";
  }

  stop() {
    this.#asking?.abort();
  }

  clear() {
    this.#messages = [];
    at("log").replaceChildren(at("empty"));
  }

  async #read(body, turn, said) {
    const started = performance.now();
    const { signal } = this.#asking;
    const { headers, events } = await this.#api.stream("v1/chat/completions", body, signal);
    turn.began(headers);
    let begun = false;
    for await (const event of events) {
      if (event.routing) this.#decided(event.routing, headers.get("x-pointsman-expert"));
      const choice = event.choices[0];
      const delta = choice?.delta ?? {};
      const thought = delta.reasoning ?? delta.reasoning_content;
      if (!begun && (delta.content || thought)) {
        begun = true;
        turn.firstToken(performance.now() - started);
      }
      if (thought) turn.thought(thought);
      if (delta.content) {
        turn.said(delta.content);
        said(delta.content);
      }
      if (choice?.finish_reason === "length") turn.cut();
      if (event.usage) turn.took(event.usage);
    }
    if (this.#feedback) turn.ratedBy((score) => this.#rate(headers.get("x-request-id"), score));
  }

  #decided(decision, expert) {
    this.dispatchEvent(new CustomEvent("decided", { detail: { decision, expert } }));
  }

  async #rate(id, score) {
    try {
      await this.#api.post("v1/feedback", { request_id: id, score });
      return "Thank you.";
    } catch (error) {
      if (error.status === NOT_KEPT) this.#hideFeedback();
      return error.message;
    }
  }

  #hideFeedback() {
    this.#feedback = false;
    for (const group of at("log").querySelectorAll(".feedback")) group.hidden = true;
    at("status").textContent = "This server keeps no feedback.";
  }
}
