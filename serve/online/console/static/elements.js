// Elements by code. Text is appended as text nodes: nothing that a model says is ever HTML.

export const at = (id) => document.getElementById(id);

export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

export function draw(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

// [term, text] pairs, of an array or a Map -> children of a <dl>.
export const facts = (pairs) =>
  Array.from(pairs, ([term, text]) => make("div", "", make("dt", "", term), make("dd", "", text)));

// A bar that is filled to `share` (0 to 1).
export function bar(share, className = "") {
  const filled = make("span", `filled ${className}`);
  filled.style.setProperty("width", `${Math.min(1, Math.max(0, share)) * 100}%`);
  return make("span", "bar", filled);
}

const hues = new Map();
const HUES = 8;

// The class that colours an expert; the same wherever it is shown.
export function hue(expert) {
  if (!hues.has(expert)) hues.set(expert, hues.size % HUES);
  return `hue${hues.get(expert)}`;
}

export const named = (expert) =>
  make("span", "named", make("span", `dot ${hue(expert)}`), " ", expert);
