// Shapes as they are drawn: paths for the SVG above the picture, bitmaps for the canvas beneath it.

import { svg } from "./dom.js";

const fixed = (value) => Math.round(value * 100) / 100;

function path(points, closed) {
  let text = "";
  for (let index = 0; index < points.length; index += 2) {
    text += `${index ? "L" : "M"}${fixed(points[index])} ${fixed(points[index + 1])}`;
  }
  return closed ? `${text}Z` : text;
}

/** The upright box around a shape: x0, y0, x1, y1 (before its rotation). */
export function boxOf(shape) {
  const { type, points } = shape;
  if (type === "mask") {
    const [left, top, right, bottom] = points.slice(-4);
    return [left, top, right + 1, bottom + 1];
  }
  if (type === "ellipse") {
    const [x, y, right, top] = points;
    return [x - (right - x), top, right, y + (y - top)];
  }
  const all = type === "skeleton" ? shape.elements.flatMap((element) => element.points) : points;
  const xs = all.filter((_, index) => index % 2 === 0);
  const ys = all.filter((_, index) => index % 2 === 1);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

function turn(shape) {
  if (!shape.rotation) return "";
  const [x0, y0, x1, y1] = boxOf(shape);
  return `rotate(${shape.rotation} ${(x0 + x1) / 2} ${(y0 + y1) / 2})`;
}

const CUBOID_FACES = [[0, 1, 3, 2], [2, 3, 5, 4], [4, 5, 7, 6], [6, 7, 1, 0]];

/** The drawing of one shape, without colours (they come with the group it stands in). `dot`: half a handle's size. */
export function drawingOf(shape, dot) {
  const { type, points } = shape;
  if (type === "rectangle") {
    const [x0, y0, x1, y1] = points;
    return svg`<rect x=${x0} y=${y0} width=${Math.max(0, x1 - x0)} height=${Math.max(0, y1 - y0)} transform=${turn(shape)}></rect>`;
  }
  if (type === "polygon") return svg`<path d=${path(points, true)} fill-rule="evenodd"></path>`;
  if (type === "polyline") return svg`<path class="open" d=${path(points, false)}></path>`;
  if (type === "ellipse") {
    const [x, y, right, top] = points;
    return svg`<ellipse cx=${x} cy=${y} rx=${Math.abs(right - x)} ry=${Math.abs(y - top)} transform=${turn(shape)}></ellipse>`;
  }
  if (type === "cuboid") {
    return CUBOID_FACES.map((face) => svg`<path d=${path(face.flatMap((corner) => points.slice(2 * corner, 2 * corner + 2)), true)}></path>`);
  }
  if (type === "mask") {
    const [x0, y0, x1, y1] = boxOf(shape);
    return svg`<rect class="frame" x=${x0} y=${y0} width=${x1 - x0} height=${y1 - y0}></rect>`;
  }
  const pairs = type === "skeleton" ? shape.elements.filter((one) => !one.outside).map((one) => one.points) : pairsOf(points);
  return pairs.map(([x, y]) => svg`<circle class="point" cx=${x} cy=${y} r=${dot}></circle>`);
}

function pairsOf(points) {
  const pairs = [];
  for (let index = 0; index < points.length; index += 2) pairs.push([points[index], points[index + 1]]);
  return pairs;
}

/** A mask's pixels: 1 where it is, row by row within its box. */
export function pixelsOf(shape) {
  const { points } = shape;
  const [left, top, right, bottom] = points.slice(-4);
  const width = right - left + 1;
  const height = bottom - top + 1;
  const pixels = new Uint8Array(width * height);
  let at = 0;
  for (let index = 0; index < points.length - 4; index += 1) {
    const end = at + points[index];
    if (index % 2) pixels.fill(1, at, end);
    at = end;
  }
  return { left, top, width, height, pixels };
}

export function rgbOf(color) {
  const match = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(color ?? "");
  return match ? match.slice(1).map((digits) => Number.parseInt(digits, 16)) : [136, 136, 136];
}

/** A mask as a picture of its own, in its colour; made once a mask. */
export function bitmapOf(mask, color) {
  const canvas = new OffscreenCanvas(mask.width, mask.height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(mask.width, mask.height);
  const data = new Uint32Array(image.data.buffer);
  const [red, green, blue] = rgbOf(color);
  const ink = (255 << 24) | (blue << 16) | (green << 8) | red;
  for (let index = 0; index < mask.pixels.length; index += 1) if (mask.pixels[index]) data[index] = ink;
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Whether a mask has the pixel at this place. */
export function covers(mask, x, y) {
  const column = Math.floor(x) - mask.left;
  const row = Math.floor(y) - mask.top;
  return column >= 0 && row >= 0 && column < mask.width && row < mask.height && mask.pixels[row * mask.width + column] === 1;
}

/** The attributes of an annotation that say something, as [name, value]. */
export function attributesOf(annotation, label) {
  const said = [];
  for (const { spec_id: id, value } of annotation.attributes ?? []) {
    const spec = label?.attributes.find((one) => one.id === id);
    if (spec && value !== "" && !(spec.input_type === "checkbox" && value === "false")) {
      said.push([spec.name, spec.input_type === "checkbox" ? "yes" : value]);
    }
  }
  if (annotation.occluded) said.unshift(["occluded", "yes"]);
  return said;
}
