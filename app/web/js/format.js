// Numbers, sizes and moments as people read them.

const whole = new Intl.NumberFormat("en");

export const count = (n) => whole.format(n);

/** "1 picture", "1,240 pictures" */
export function counted(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function fileSize(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function percent(fraction) {
  const value = fraction * 100;
  if (value > 0 && value < 1) return "<1%";
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : Math.floor(value)}%`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "long" });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const STEPS = [
  ["year", 365 * 86400],
  ["month", 30 * 86400],
  ["week", 7 * 86400],
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

/** "3 minutes ago", "in 2 days" */
export function ago(date, now = Date.now()) {
  const seconds = (new Date(date).getTime() - now) / 1000;
  for (const [unit, length] of STEPS) {
    if (Math.abs(seconds) >= length * 0.95) return relative.format(Math.round(seconds / length), unit);
  }
  return seconds > 30 ? "in a moment" : "just now";
}

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const moment = (date) => full.format(new Date(date));

export function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 60) return counted(Math.round(seconds), "second");
  if (seconds < 3600) return counted(Math.round(seconds / 60), "minute");
  return counted(Math.round(seconds / 3600), "hour");
}

/** A shape's or file's kind in plain words, with its plural. */
export const KINDS = {
  rectangle: ["box", "boxes"],
  polygon: ["polygon", "polygons"],
  polyline: ["line", "lines"],
  points: ["point set", "point sets"],
  ellipse: ["ellipse", "ellipses"],
  cuboid: ["cuboid", "cuboids"],
  mask: ["mask", "masks"],
  skeleton: ["skeleton", "skeletons"],
  tag: ["tag", "tags"],
  track: ["track", "tracks"],
};

/** Names as they sort for people: img2 before img10. */
export const byName = new Intl.Collator("en", { numeric: true }).compare;
