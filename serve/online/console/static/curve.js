// The deferral curve: mean cost against mean predicted quality, one point a tradeoff.

import { draw } from "./elements.js";
import { usd } from "./numbers.js";

const HEIGHT = 190;
const LEFT = 46;
const RIGHT = 12;
const TOP = 20;
const BOTTOM = 34;

export class Curve {
  #svg;
  #points = [];
  #here = null;
  #plot = draw("g", {});
  #marker = draw("circle", { class: "marker", r: 7 });

  constructor(svg) {
    this.#svg = svg;
    svg.append(this.#plot, this.#marker);
    new ResizeObserver(() => this.show(this.#points, this.#here)).observe(svg);
  }

  // Args: points by tradeoff, as in /v1/live; the one of them that the marker stands on, or null.
  show(points, here) {
    this.#points = points;
    this.#here = here;
    this.#svg.toggleAttribute("hidden", points.length === 0);
    const width = this.#svg.clientWidth;
    if (points.length === 0 || width === 0) return;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const costs = points.flatMap((p) => [p.cost_usd, p.best_single_usd, p.priciest_usd]);
    const x = scale(costs.filter(Number.isFinite), LEFT, width - RIGHT);
    const y = scale(points.map((p) => p.quality), HEIGHT - BOTTOM, TOP);
    const path = points.map((p) => `${x.of(p.cost_usd)},${y.of(p.quality)}`);
    this.#plot.replaceChildren(
      ...axes(x, y, width),
      draw("polyline", { class: "path", points: path.join(" ") }),
      ...points.map((p) => draw("circle", { class: "point", r: 2.5, cx: x.of(p.cost_usd), cy: y.of(p.quality) })),
      ...lines(here ?? points[0], x),
    );
    this.#marker.toggleAttribute("hidden", here === null);
    if (here) {
      const place = `translate(${x.of(here.cost_usd)}px, ${y.of(here.quality)}px)`;
      this.#marker.style.setProperty("transform", place);
      this.#marker.dataset.tradeoff = here.tradeoff;
    }
  }
}

// Values -> places, with a tenth of their range free on either side.
function scale(values, from, to) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low) * 0.1 || Math.abs(high) * 0.1 || 1;
  const start = low - margin;
  const range = high - low + 2 * margin;
  const of = (value) => from + ((value - start) / range) * (to - from);
  return { of, ticks: low === high ? [low] : [low, (low + high) / 2, high] };
}

function axes(x, y, width) {
  const [floor, wall] = [HEIGHT - BOTTOM, width - RIGHT];
  return [
    ...y.ticks.flatMap((value) => [
      draw("line", { class: "grid", x1: LEFT, x2: wall, y1: y.of(value), y2: y.of(value) }),
      draw("text", { x: LEFT - 6, y: y.of(value) + 4, "text-anchor": "end" }, value.toFixed(3)),
    ]),
    draw("line", { class: "axis", x1: LEFT, x2: wall, y1: floor, y2: floor }),
    ...x.ticks.map((value) =>
      draw("text", { x: x.of(value), y: floor + 14, "text-anchor": "middle" }, usd(value)),
    ),
    draw("text", { class: "label", x: wall, y: HEIGHT - 4, "text-anchor": "end" }, "mean cost of an answer"),
    draw("text", { class: "label", x: 0, y: 10 }, "mean predicted quality"),
  ];
}

// What the best single and the priciest expert would cost. The curve rises to the right, so there
// is room for a name above it on the left and below it on the right.
function lines(point, x) {
  const [left, right] = [x.of(x.ticks[0]), x.of(x.ticks.at(-1))];
  return [
    ["best single", point.best_single_usd, 0],
    ["priciest", point.priciest_usd, 12],
  ]
    .filter(([, cost]) => Number.isFinite(cost))
    .flatMap(([name, cost, lower]) => {
      const [at, bottom] = [x.of(cost), HEIGHT - BOTTOM];
      const place =
        at < (left + right) / 2
          ? { x: at + 4, y: TOP + 8 + lower }
          : { x: at - 4, y: bottom - 18 + lower, "text-anchor": "end" };
      return [
        draw("line", { class: "reference", x1: at, x2: at, y1: TOP, y2: bottom }),
        draw("text", { class: "label", ...place }, name),
      ];
    });
}
