// A look at an import before it happens: boxes of the archive over the task's own pictures.

import { get } from "./api.js";
import { cellsOf } from "./tables.js";
import { eachLine } from "./zip.js";

const MAX_LOOKED_AT = 64 << 20;
const MAX_BOXES = 400;
const COLUMNS = ["imageid", "labelname", "xmin", "xmax", "ymin", "ymax"];

/** Class → display name, of the class files of a zip. */
export async function displayNames(zip, found) {
  const names = new Map();
  for (const file of found.of("classes")) {
    await eachLine(zip, file.entry, (line) => {
      const [mid, name] = cellsOf(line.replace(/^\ufeff/, ""));
      if (mid && name && !names.has(mid)) names.set(mid, name);
    });
  }
  return names;
}

/**
 * The pictures with the most boxes, and their boxes in parts of the picture.
 * @returns {Promise<{image: string, n: number, boxes: {label: string, place: number[]}[]}[]>}
 */
async function busiest(zip, found, wanted) {
  const images = new Map();
  let looked = 0;
  for (const file of found.of("boxes")) {
    let columns = [];
    await eachLine(zip, file.entry, (line, number) => {
      const cells = cellsOf(number === 1 ? line.replace(/^\ufeff/, "") : line);
      if (number === 1) {
        const header = cells.map((name) => name.trim().toLowerCase());
        columns = COLUMNS.map((name) => header.indexOf(name));
        return !columns.includes(-1);
      }
      const [image, label, x0, x1, y0, y1] = columns.map((column) => cells[column]);
      const place = [x0, y0, x1, y1].map(Number);
      if (image && place.every(Number.isFinite)) {
        if (!images.has(image)) images.set(image, { image, n: 0, boxes: [] });
        const one = images.get(image);
        one.n += 1;
        if (one.boxes.length < MAX_BOXES) one.boxes.push({ label, place });
      }
      looked += line.length;
      return looked < MAX_LOOKED_AT;
    });
  }
  return [...images.values()].sort((a, b) => b.n - a.n).slice(0, wanted);
}

/**
 * @param {any} task @param {any[]} labels of the task
 * @returns {Promise<{frame: number, name: string, width: number, height: number, n: number, boxes: {color: string, label: string, place: number[]}[]}[]>}
 */
export async function looksOf(zip, found, task, labels, wanted = 4) {
  const [chosen, names] = await Promise.all([busiest(zip, found, wanted * 3), displayNames(zip, found)]);
  const colors = new Map(labels.map((label) => [label.name, label.color]));
  const looks = [];
  for (const { image, n, boxes } of chosen) {
    if (looks.length === wanted) break;
    const base = image.split("/").at(-1);
    const pictures = await get(`/api/tasks/${task.id}/pictures`, { search: base, limit: 20 });
    const index = pictures.names.findIndex((name) => name.split("/").at(-1) === base || name.split("/").at(-1).replace(/\.[^.]*$/, "") === base);
    if (index < 0) continue;
    looks.push({
      frame: pictures.frames[index],
      name: pictures.names[index],
      width: pictures.widths[index],
      height: pictures.heights[index],
      n,
      boxes: boxes.map(({ label, place }) => {
        const name = names.get(label) ?? label;
        return { label: name, color: colors.get(label) ?? colors.get(name) ?? "#888888", place };
      }),
    });
  }
  return looks;
}
