// A look at an import before it happens: boxes and masks of the archive over the task's own pictures. Pictures with
// problems come first, then those with the most on them.

import { get } from "./api.js";
import { rgbOf } from "./shapes.js";
import { cellsOf } from "./tables.js";
import { bytesOfEntry, eachLine } from "./zip.js";

const MAX_LOOKED_AT = 64 << 20;
const MAX_BOXES = 400;
const MAX_MASKS = 10;
const MASK_SIDE = 320;
const BOX_COLUMNS = ["imageid", "labelname", "xmin", "xmax", "ymin", "ymax"];
const MASK_COLUMNS = ["imageid", "labelname", "maskpath"];

/**
 * @typedef {object} Look
 * @property {number} frame
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {number} n how many boxes and masks
 * @property {number} problems how many of its rows are wrong
 * @property {number} notes how many are odd
 * @property {{color: string, label: string, place: number[], isBad: boolean}[]} boxes
 * @property {string[]} masks addresses of pictures of masks
 */

/** Class → display name, of the class files of a zip. @returns {Promise<Map<string, string>>} */
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

/** The cells of some columns of each row of tables, until enough was looked at. */
async function eachRow(zip, files, columns, visit) {
  let looked = 0;
  for (const file of files) {
    let places = [];
    await eachLine(zip, file.entry, (line, number) => {
      const cells = cellsOf(number === 1 ? line.replace(/^\ufeff/, "") : line);
      if (number === 1) {
        const header = cells.map((name) => name.trim().toLowerCase());
        places = columns.map((name) => header.indexOf(name));
        return !places.includes(-1);
      }
      visit(places.map((place) => cells[place] ?? ""), file.path, number);
      looked += line.length;
      return looked < MAX_LOOKED_AT;
    });
  }
}

/**
 * Pictures with their boxes in parts of the picture: those with problems first, then those with the most.
 * @param {Problem[]} problems
 */
async function chosen(zip, found, problems, wanted) {
  const told = new Map();
  for (const one of problems) {
    const key = `${one.file}:${one.row}`;
    if (one.row && told.get(key) !== "error") told.set(key, one.severity);
  }
  const count = (one, severity) => {
    one.problems += severity === "error" ? 1 : 0;
    one.notes += severity === "warning" ? 1 : 0;
  };
  const images = new Map();
  const of = (image) => {
    if (!images.has(image)) images.set(image, { image, n: 0, problems: 0, notes: 0, boxes: [], masks: [] });
    return images.get(image);
  };
  await eachRow(zip, found.of("boxes"), BOX_COLUMNS, ([image, label, x0, x1, y0, y1], path, row) => {
    if (!image) return;
    const one = of(image);
    const place = [x0, y0, x1, y1].map((text) => (text.trim() === "" ? NaN : Number(text)));
    const severity = told.get(`${path}:${row}`);
    count(one, severity);
    if (!place.every(Number.isFinite)) return;
    one.n += 1;
    if (one.boxes.length < MAX_BOXES) one.boxes.push({ label, place, isBad: Boolean(severity) });
  });
  await eachRow(zip, found.of("masks"), MASK_COLUMNS, ([image, label, path], file, row) => {
    if (!image) return;
    const one = of(image);
    one.n += 1;
    count(one, told.get(`${file}:${row}`));
    if (one.masks.length < MAX_MASKS) one.masks.push({ label, path });
  });
  return [...images.values()].sort((a, b) => b.problems - a.problems || b.notes - a.notes || b.n - a.n).slice(0, wanted);
}

/** A mask as a picture in its colour, clear where it is not. @returns {Promise<string>} its address, "" where it cannot be read */
async function tinted(zip, entry, color) {
  try {
    const bitmap = await createImageBitmap(new Blob([await bytesOfEntry(zip, entry)], { type: "image/png" }));
    const scale = Math.min(1, MASK_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const image = context.getImageData(0, 0, canvas.width, canvas.height);
    const [red, green, blue] = rgbOf(color);
    for (let at = 0; at < image.data.length; at += 4) {
      const isIn = image.data[at] + image.data[at + 1] + image.data[at + 2] > 0 && image.data[at + 3] > 0;
      image.data.set([red, green, blue, isIn ? 130 : 0], at);
    }
    context.putImageData(image, 0, 0);
    return URL.createObjectURL(await canvas.convertToBlob());
  } catch {
    return "";
  }
}

/**
 * @param {Task} task @param {Label[]} labels of the task
 * @param {Problem[]} problems
 * @param {Map<string, string>} names display names by class
 * @param {Map<string, string>} renamed labels of the task by what the archive calls them
 * @returns {Promise<Look[]>}
 */
export async function looksOf(zip, found, task, labels, problems, names, renamed, wanted = 4) {
  const colors = new Map(labels.map((label) => [label.name, label.color]));
  const labelOf = (name) => {
    const shown = names.get(name) ?? name;
    const label = renamed.get(name) ?? renamed.get(shown) ?? shown;
    return { label, color: colors.get(label) ?? colors.get(name) ?? "#888888" };
  };
  const pngs = new Map(found.masks.map((file) => [file.path.split("/").at(-1), file.entry]));
  const looks = [];
  for (const { image, n, problems: wrong, notes, boxes, masks } of await chosen(zip, found, problems, wanted * 3)) {
    if (looks.length === wanted) break;
    const base = image.split("/").at(-1);
    const pictures = await get(`/api/tasks/${task.id}/pictures`, { search: base, limit: 20 });
    const index = pictures.names.findIndex((name) => name.split("/").at(-1) === base || name.split("/").at(-1).replace(/\.[^.]*$/, "") === base);
    if (index < 0) continue;
    const drawn = await Promise.all(
      masks.map(({ label, path }) => {
        const entry = pngs.get(path.split("/").at(-1));
        return entry ? tinted(zip, entry, labelOf(label).color) : "";
      }),
    );
    looks.push({
      frame: pictures.frames[index],
      name: pictures.names[index],
      width: pictures.widths[index],
      height: pictures.heights[index],
      n,
      problems: wrong,
      notes,
      boxes: boxes.map(({ label, place, isBad }) => ({ ...labelOf(label), place, isBad })),
      masks: drawn.filter(Boolean),
    });
  }
  return looks;
}

/** Give back what the pictures of masks took. @param {Look[] | null} looks */
export function forgetLooks(looks) {
  for (const look of looks ?? []) for (const address of look.masks) URL.revokeObjectURL(address);
}
