// Numbers as they are shown.

const MICRO_BELOW = 0.01;

const digits = (value, most) =>
  value.toLocaleString("en", { maximumSignificantDigits: most, useGrouping: true });

// US dollars; small ones in millionths.
export function usd(value) {
  if (value !== 0 && Math.abs(value) < MICRO_BELOW) return `${digits(value * 1e6, 3)} µ$`;
  const sign = value < 0 ? "-" : "";
  return `${sign}$${digits(Math.abs(value), 4)}`;
}

export const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

export const quality = (value) => value.toFixed(3);

export const seconds = (value) =>
  value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`;

export const count = (value) => value.toLocaleString("en");

// "1 request", "2 requests"
export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

// What `cost` saves against `other`, both in US dollars.
export function saving(cost, other) {
  if (!other) return "as much";
  const share = 1 - cost / other;
  if (Math.abs(share) < 0.0005) return "as much";
  return share > 0 ? `saves ${percent(share)}` : `costs ${percent(-share)} more`;
}
