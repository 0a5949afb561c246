// The page: ties the conversation, the choice and the live numbers together.

import { Api } from "./api.js";
import { Candidates } from "./candidates.js";
import { Choice } from "./choice.js";
import { Conversation } from "./conversation.js";
import { at, hue, make } from "./elements.js";
import { KeyField } from "./key.js";
import { Live } from "./live.js";

const UNAUTHORIZED = 401;

const api = new Api();
const candidates = new Candidates();
const conversation = new Conversation(api);
const draft = at("question");
const model = at("model");
const choice = new Choice(api, candidates, () => ({
  model: model.value,
  messages: conversation.with(draft.value.trim()),
}));
const live = new Live(api);
const key = new KeyField(api, begin);

async function begin() {
  live.restart();
  choice.changed();
  try {
    const { data } = await api.get("v1/models");
    const chosen = model.value;
    model.replaceChildren(...data.map(({ id }) => make("option", "", id)));
    if (data.some(({ id }) => id === chosen)) model.value = chosen;
    for (const { id } of data) if (!id.startsWith("auto")) hue(id);
  } catch (error) {
    at("status").textContent = error.message;
  }
}

async function ask() {
  const text = draft.value.trim();
  if (!text || conversation.busy) return;
  draft.value = "";
  choice.sent();
  busy(true);
  const answered = await conversation.ask(text, model.value, choice.routing(model.value));
  busy(false);
  if (!answered && !draft.value) draft.value = text;
}

function busy(is) {
  const focused = document.activeElement;
  at("send").hidden = is;
  at("stop").hidden = !is;
  if (focused === at("send")) at("stop").focus();
  if (focused === at("stop")) draft.focus();
  at("clear").disabled = is;
  at("status").textContent = is ? "The answer is on its way" : "The answer is over";
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
draft.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
});
draft.addEventListener("input", () => choice.changed());
model.addEventListener("change", () => choice.changed());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") conversation.stop();
});
at("stop").addEventListener("click", () => conversation.stop());
at("clear").addEventListener("click", () => {
  conversation.clear();
  choice.changed();
  draft.focus();
});
conversation.addEventListener("decided", ({ detail }) => {
  candidates.show(detail.decision, detail.expert, true);
});
live.addEventListener("live", ({ detail }) => choice.heard(detail));
live.addEventListener("denied", ({ detail: { status, message } }) => {
  // A key that is known, but no admin's, still asks questions.
  if (status === UNAUTHORIZED || !api.key) key.ask(message);
});

begin();
