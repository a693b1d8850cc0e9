// What the files of an Open Images archive are, by their names; the service decides, this shows it before the upload.

const P = "(?:oidv\\d+-|challenge-\\d{4}-)?";
const CHALLENGE = "challenge-\\d{4}-";
const SUBSET = "(?<subset>.+?)";
/** @type {[string, RegExp][]} */
const NAMES = /** @type {[string, string][]} */ ([
  ["images", "image_ids(?:_and_rotation)?\\.csv"],
  ["images", `${P}${SUBSET}-image_ids(?:_and_rotation)?\\.csv`],
  ["images", `${P}${SUBSET}-images(?:-boxable|-with-labels|-with-bbox)*(?:-with-rotation)?\\.csv`],
  ["boxes", `${P}${SUBSET}-annotations(?:-human)?-bbox\\.csv`],
  ["tags", `${P}${SUBSET}-annotations-human-imagelabels(?:-boxable)?\\.csv`],
  ["machine", `${P}${SUBSET}-annotations-machine-imagelabels\\.csv`],
  ["masks", `${P}${SUBSET}-annotations-object-segmentation\\.csv`],
  ["masks", "masks_data\\.csv"],
  ["boxes", `${CHALLENGE}${SUBSET}-(?:detection|segmentation)-bbox\\.csv`],
  ["tags", `${CHALLENGE}${SUBSET}-(?:detection|segmentation|vrd)-(?:human-image)?labels\\.csv`],
  ["masks", `${CHALLENGE}${SUBSET}-segmentation-masks\\.csv`],
  ["points", `${P}${SUBSET}-annotations-point-labels\\.csv`],
  ["relationships", `${P}${SUBSET}-annotations-vrd\\.csv`],
  ["relationships", `${CHALLENGE}(?!classes-|image-ids-)${SUBSET}-vrd\\.csv`],
  ["narratives", ".*(?:localized[_-]narratives|captions).*\\.jsonl"],
  ["classes", `${P}class-descriptions(?:-boxable)?\\.csv`],
  ["classes", `${CHALLENGE}class(?:es)?-descriptions?-(?:\\d+|segmentable)\\.csv`],
  ["classes", `${CHALLENGE}classes-vrd\\.csv`],
  ["hierarchy", ".*hierarchy\\.json"],
  ["sizes", "images\\.meta"],
  ["side", "oid_extra\\.json"],
])
  .map(([kind, pattern]) => [kind, new RegExp(`^${pattern}$`, "i")]);
const IN_FOLDER = {
  "labels/detections.csv": "boxes",
  "labels/classifications.csv": "tags",
  "labels/segmentations.csv": "masks",
  "labels/points.csv": "points",
  "labels/relationships.csv": "relationships",
  "metadata/classes.csv": "classes",
  "metadata/image_ids.csv": "images",
};
const CLUTTER = /(?:^|\/)(?:__MACOSX\/|\._[^/]*$|(?:\.DS_Store|Thumbs\.db|desktop\.ini)$)/i;
const MASK = /(?:^|\/)(?:masks|[^/]+-masks-[0-9a-f](?:\.zip)?)\/(?:.*\/)?[^/]+\.png$/i;
const MASK_ZIP = /(?:^|\/)[^/]+-masks-[0-9a-f]\.zip$/i;
const PICTURE = /\.(?:jpe?g|jpe|jfif|png|bmp|dib|gif|webp|tiff?)$/i;

/** In plain words. */
export const KIND_WORDS = {
  images: "list of pictures",
  boxes: "boxes",
  tags: "picture labels",
  machine: "machine-made labels",
  masks: "masks",
  points: "points",
  relationships: "relationships",
  narratives: "narratives",
  masksZip: "zip of masks, read where it lies",
  classes: "class names",
  hierarchy: "class hierarchy",
  sizes: "picture sizes",
  side: "what only this service knows",
  mask: "mask picture",
  picture: "picture",
  clutter: "left by a computer, passed over",
  kept: "kept as it is",
};

/** @returns {{kind: string, subset?: string}} */
export function kindOf(path) {
  if (CLUTTER.test(path)) return { kind: "clutter" };
  const parts = path.split("/");
  const inFolder = IN_FOLDER[parts.slice(-2).join("/").toLowerCase()];
  if (inFolder) return { kind: inFolder };
  for (const [kind, pattern] of NAMES) {
    const match = pattern.exec(parts.at(-1));
    if (match) return { kind, subset: match.groups?.subset };
  }
  if (MASK.test(path)) return { kind: "mask" };
  if (MASK_ZIP.test(path)) return { kind: "masksZip" };
  if (PICTURE.test(path)) return { kind: "picture" };
  return { kind: "kept" };
}

export const isPictureName = (path) => PICTURE.test(path) && !CLUTTER.test(path);

/**
 * What a zip holds.
 * @param {import("./zip.js").Zip} zip
 */
export function survey(zip) {
  const files = zip.entries
    .filter((entry) => !entry.isFolder)
    .map((entry) => ({ path: entry.name, size: entry.size, packed: entry.packed, entry, ...kindOf(entry.name) }));
  const of = (...kinds) => files.filter((file) => kinds.includes(file.kind));
  const tables = of("images", "boxes", "tags", "machine", "masks", "points", "relationships", "narratives", "classes");
  const pictures = of("picture");
  return {
    files,
    tables,
    pictures,
    masks: of("mask"),
    pictureBytes: pictures.reduce((sum, file) => sum + file.packed, 0),
    isAnnotations: tables.length > 0,
    of,
  };
}

/** The cells of one CSV line (quotes as in RFC 4180; a record is expected to be one line). */
export function cellsOf(line) {
  if (!line.includes('"')) return line.split(",");
  const cells = [];
  const pattern = /(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g;
  let match;
  while (pattern.lastIndex <= line.length && (match = pattern.exec(line)) !== null) {
    cells.push(match[1] !== undefined ? match[1].replaceAll('""', '"') : match[2]);
    if (match[0] === "") break;
  }
  return cells;
}

const CLASS_HEADERS = new Set(["labelname,displayname", "id,name", "mid,classname"]);
const MAX_LOOKED_AT = 300 << 20;

/**
 * The labels that the annotations of a zip use, as a task would call them: display names where there are any.
 * @param {import("./zip.js").Zip} zip
 * @returns {Promise<{names: string[], isCut: boolean}>} in order of first use
 */
export async function labelsOf(zip, found = survey(zip)) {
  const { eachLine } = await import("./zip.js");
  const display = new Map();
  for (const file of found.of("classes")) {
    await eachLine(zip, file.entry, (line, number) => {
      const [mid, name] = cellsOf(number === 1 ? line.replace(/^\ufeff/, "") : line);
      const isHeader = number === 1 && CLASS_HEADERS.has(`${mid},${name}`.toLowerCase());
      if (mid && !isHeader && !display.has(mid)) display.set(mid, name || mid);
    });
  }
  const used = new Set();
  let looked = 0;
  let isCut = false;
  for (const file of found.of("boxes", "tags", "masks")) {
    let column = -1;
    await eachLine(zip, file.entry, (line, number) => {
      if (number === 1) {
        column = cellsOf(line.replace(/^\ufeff/, "")).findIndex((name) => name.trim().toLowerCase() === "labelname");
        return column >= 0;
      }
      looked += line.length;
      const label = cellsOf(line)[column];
      if (label) used.add(label);
      isCut = looked > MAX_LOOKED_AT;
      return !isCut;
    });
  }
  const labels = used.size ? [...used] : [...display.keys()].slice(0, 1000);
  const names = [...new Set(labels.map((label) => display.get(label) ?? label))];
  return { names, isCut };
}

/**
 * Some lines of a table around a row, with the header.
 * @returns {Promise<{header: string[], lines: {row: number, text: string}[]} | null>}
 */
export async function linesAround(zip, path, row, around = 2) {
  const { eachLine } = await import("./zip.js");
  const entry = zip.byName.get(path);
  if (!entry) return null;
  let header = [];
  const lines = [];
  await eachLine(zip, entry, (text, number) => {
    if (number === 1) header = cellsOf(text.replace(/^\ufeff/, ""));
    if (number >= row - around && number <= row + around && number > 1) lines.push({ row: number, text });
    return number < row + around;
  });
  return { header, lines };
}
