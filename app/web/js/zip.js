// A zip on this machine, looked into without sending it: its directory, one member's text, and smaller zips cut from it.
//
//   file   [header a][data a][header b][data b] … [directory][end]
//   cut    [header b][data b] … [directory of b][end]          slices of the file: nothing is copied or unpacked
//
// The service reads every archive again and strictly; this is for showing early and for sending less.

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const RECORD = 0x02014b50;
const LOCAL = 0x04034b50;
const UTF8 = 1 << 11;
const ZIP64 = 1;
const U16 = 0xffff;
const U32 = 0xffffffff;
const MAX_DIRECTORY = 256 << 20;

/**
 * @typedef {object} Entry
 * @property {string} name
 * @property {number} size unpacked
 * @property {number} packed
 * @property {number} method 0 stored, 8 deflate
 * @property {number} flags
 * @property {boolean} isFolder
 * @property {number} start where its local header begins
 * @property {number} [placeInExtra] where in the record that is told, if it takes 64 bits
 * @property {number} end where the next one (or the directory) begins
 * @property {Uint8Array} record its record in the directory
 */

/** @typedef {{file: Blob, entries: Entry[], byName: Map<string, Entry>}} Zip */

export class NotAZip extends Error {}

const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const big = (data, at) => Number(data.getBigUint64(at, true));

async function bytesOf(blob, start, end) {
  return new Uint8Array(await blob.slice(start, end).arrayBuffer());
}

/** Whether a file begins as a zip does. */
export async function looksLikeZip(file) {
  const head = await bytesOf(file, 0, 4);
  return head[0] === 0x50 && head[1] === 0x4b && (head[2] === 3 || head[2] === 5 || head[2] === 6);
}

/**
 * The directory of a zip.
 * @param {Blob} file
 * @returns {Promise<Zip>}
 */
export async function openZip(file) {
  const tailStart = Math.max(0, file.size - 65557);
  const tail = await bytesOf(file, tailStart, file.size);
  const data = view(tail);
  let at = tail.length - 22;
  while (at >= 0 && !(data.getUint32(at, true) === END && at + 22 + data.getUint16(at + 20, true) === tail.length)) at -= 1;
  if (at < 0) throw new NotAZip("this is not a zip, or its end is missing");
  let count = data.getUint16(at + 10, true);
  let size = data.getUint32(at + 12, true);
  let start = data.getUint32(at + 16, true);
  if (at >= 20 && data.getUint32(at - 20, true) === LOCATOR64) {
    const end64 = big(data, at - 12);
    const record = view(await bytesOf(file, end64, end64 + 56));
    if (record.byteLength < 56 || record.getUint32(0, true) !== END64) throw new NotAZip("the zip's directory is damaged");
    count = big(record, 32);
    size = big(record, 40);
    start = big(record, 48);
  }
  if (start + size > file.size || size > MAX_DIRECTORY) throw new NotAZip("the zip is cut short");
  const directory = await bytesOf(file, start, start + size);
  const entries = readDirectory(directory, count);
  const order = [...entries].sort((a, b) => a.start - b.start);
  order.forEach((entry, index) => {
    entry.end = index + 1 < order.length ? order[index + 1].start : start;
  });
  return { file, entries, byName: new Map(entries.map((entry) => [entry.name, entry])) };
}

function readDirectory(directory, count) {
  const data = view(directory);
  const utf8 = new TextDecoder();
  const entries = [];
  let at = 0;
  while (at + 46 <= directory.length && entries.length < count) {
    if (data.getUint32(at, true) !== RECORD) throw new NotAZip("the zip's directory is damaged");
    const nameSize = data.getUint16(at + 28, true);
    const extraSize = data.getUint16(at + 30, true);
    const length = 46 + nameSize + extraSize + data.getUint16(at + 32, true);
    const entry = {
      name: utf8.decode(directory.subarray(at + 46, at + 46 + nameSize)),
      flags: data.getUint16(at + 8, true),
      method: data.getUint16(at + 10, true),
      packed: data.getUint32(at + 20, true),
      size: data.getUint32(at + 24, true),
      start: data.getUint32(at + 42, true),
      end: 0,
      isFolder: false,
      record: directory.subarray(at, at + length),
    };
    readZip64(data, at, 46 + nameSize, extraSize, entry);
    entry.isFolder = entry.name.endsWith("/");
    entries.push(entry);
    at += length;
  }
  return entries;
}

/** Sizes and places that do not fit into 32 bits stand in an extra field, in a fixed order. */
function readZip64(data, record, start, size, entry) {
  for (let at = start; at + 4 <= start + size; at += 4 + data.getUint16(record + at + 2, true)) {
    if (data.getUint16(record + at, true) !== ZIP64) continue;
    let value = at + 4;
    for (const name of ["size", "packed", "start"]) {
      if (entry[name] !== U32) continue;
      if (name === "start") entry.placeInExtra = value;
      entry[name] = big(data, record + value);
      value += 8;
    }
    return;
  }
}

/**
 * The unpacked bytes of a member, as a stream.
 * @param {Zip} zip @param {Entry} entry
 */
export async function streamEntry(zip, entry) {
  const header = view(await bytesOf(zip.file, entry.start, entry.start + 30));
  if (header.byteLength < 30 || header.getUint32(0, true) !== LOCAL) throw new NotAZip(`${entry.name} is damaged`);
  const start = entry.start + 30 + header.getUint16(26, true) + header.getUint16(28, true);
  const packed = zip.file.slice(start, start + entry.packed).stream();
  if (entry.method === 0) return packed;
  if (entry.method === 8) return packed.pipeThrough(new DecompressionStream("deflate-raw"));
  throw new NotAZip(`${entry.name} is packed in a way that browsers cannot unpack`);
}

/**
 * The lines of a member, as text, until `visit` answers false.
 * @param {(line: string, number: number) => boolean | void} visit
 */
export async function eachLine(zip, entry, visit) {
  const reader = (await streamEntry(zip, entry)).getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let number = 0;
  for (;;) {
    const { value, done } = await reader.read();
    rest += value ? decoder.decode(value, { stream: true }) : decoder.decode();
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = done ? "" : lines.pop();
    for (const line of lines) {
      number += 1;
      if (done && line === "" && number > 1) continue;
      if (visit(line, number) === false) {
        await reader.cancel().catch(() => {});
        return;
      }
    }
    if (done) return;
  }
}

/** All bytes of a member; for small ones. */
export async function bytesOfEntry(zip, entry) {
  return new Response(await streamEntry(zip, entry)).arrayBuffer();
}

/** All of a member as text; for small ones. */
export async function textOf(zip, entry) {
  return new Response(await streamEntry(zip, entry)).text();
}

/**
 * A smaller zip with some members of this one. Those that `place` answers "name" for keep their names and lose their
 * bytes; those it answers false for are left out.
 * @param {Zip} zip
 * @param {(entry: Entry) => boolean | "name"} place
 * @returns {Blob}
 */
export function cutZip(zip, place) {
  const parts = [];
  const records = [];
  let offset = 0;
  for (const entry of [...zip.entries].sort((a, b) => a.start - b.start)) {
    const kept = place(entry);
    if (kept === false) continue;
    if (kept === "name") {
      const { header, record } = emptyMember(entry, offset);
      parts.push(header);
      records.push(record);
      offset += header.length;
      continue;
    }
    parts.push(zip.file.slice(entry.start, entry.end));
    records.push(moved(entry, offset));
    offset += entry.end - entry.start;
  }
  return new Blob([...parts, ...records, endOf(records, offset)], { type: "application/zip" });
}

function moved(entry, offset) {
  const record = entry.record.slice();
  const data = view(record);
  if (entry.placeInExtra !== undefined) data.setBigUint64(entry.placeInExtra, BigInt(offset), true);
  else data.setUint32(42, offset, true);
  return record;
}

/** The name of a member with nothing in it. */
function emptyMember(entry, offset) {
  const name = entry.record.subarray(46, 46 + view(entry.record).getUint16(28, true));
  const header = new Uint8Array(30 + name.length);
  const local = view(header);
  local.setUint32(0, LOCAL, true);
  local.setUint16(4, 20, true);
  local.setUint16(6, entry.flags & UTF8, true);
  local.setUint16(12, 0x21, true);
  local.setUint16(26, name.length, true);
  header.set(name, 30);
  const large = offset >= U32;
  const record = new Uint8Array(46 + name.length + (large ? 12 : 0));
  const data = view(record);
  data.setUint32(0, RECORD, true);
  data.setUint16(4, large ? 45 : 20, true);
  data.setUint16(6, large ? 45 : 20, true);
  data.setUint16(8, entry.flags & UTF8, true);
  data.setUint16(14, 0x21, true);
  data.setUint16(28, name.length, true);
  data.setUint32(42, large ? U32 : offset, true);
  record.set(name, 46);
  if (large) {
    data.setUint16(30, 12, true);
    data.setUint16(46 + name.length, ZIP64, true);
    data.setUint16(48 + name.length, 8, true);
    data.setBigUint64(50 + name.length, BigInt(offset), true);
  }
  return { header, record };
}

function endOf(records, offset) {
  const size = records.reduce((sum, record) => sum + record.length, 0);
  const large = records.length >= U16 || offset >= U32 || size >= U32;
  const bytes = new Uint8Array(22 + (large ? 76 : 0));
  const data = view(bytes);
  if (large) {
    data.setUint32(0, END64, true);
    data.setBigUint64(4, 44n, true);
    data.setUint16(12, 45, true);
    data.setUint16(14, 45, true);
    data.setBigUint64(24, BigInt(records.length), true);
    data.setBigUint64(32, BigInt(records.length), true);
    data.setBigUint64(40, BigInt(size), true);
    data.setBigUint64(48, BigInt(offset), true);
    data.setUint32(56, LOCATOR64, true);
    data.setBigUint64(64, BigInt(offset + size), true);
    data.setUint32(72, 1, true);
  }
  const at = large ? 76 : 0;
  data.setUint32(at, END, true);
  data.setUint16(at + 8, Math.min(records.length, U16), true);
  data.setUint16(at + 10, Math.min(records.length, U16), true);
  data.setUint32(at + 12, Math.min(size, U32), true);
  data.setUint32(at + 16, Math.min(offset, U32), true);
  return bytes;
}

let table = null;

/** CRC-32 of a blob, read bit by bit. */
async function crcOf(blob) {
  if (!table) {
    table = [new Uint32Array(256)];
    for (let n = 0; n < 256; n += 1) {
      let value = n;
      for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
      table[0][n] = value;
    }
    for (let step = 1; step < 4; step += 1) {
      table.push(table[step - 1].map((value) => table[0][value & 255] ^ (value >>> 8)));
    }
  }
  const [t0, t1, t2, t3] = table;
  let crc = 0xffffffff;
  const reader = blob.stream().getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return (crc ^ 0xffffffff) >>> 0;
    let at = 0;
    for (const end = value.length - 3; at < end; at += 4) {
      crc ^= value[at] | (value[at + 1] << 8) | (value[at + 2] << 16) | (value[at + 3] << 24);
      crc = t3[crc & 255] ^ t2[(crc >>> 8) & 255] ^ t1[(crc >>> 16) & 255] ^ t0[crc >>> 24];
    }
    for (; at < value.length; at += 1) crc = (crc >>> 8) ^ t0[(crc ^ value[at]) & 255];
  }
}

/**
 * A zip of files as they are, with their folders.
 * @param {{file: File, name: string}[]} files @param {(done: number) => void} [onProgress]
 */
export async function makeZip(files, onProgress = () => {}) {
  const parts = [];
  const records = [];
  let offset = 0;
  for (const [index, { file, name }] of files.entries()) {
    const bytes = new TextEncoder().encode(name.normalize("NFC"));
    const crc = await crcOf(file);
    const { header, record } = emptyMember({ record: withName(bytes), flags: UTF8 }, offset);
    for (const [data, at] of /** @type {[DataView, number][]} */ ([[view(header), 14], [view(record), 16]])) {
      data.setUint32(at, crc, true);
      data.setUint32(at + 4, file.size, true);
      data.setUint32(at + 8, file.size, true);
    }
    parts.push(header, file);
    records.push(record);
    offset += header.length + file.size;
    onProgress((index + 1) / files.length);
  }
  return new Blob([...parts, ...records, endOf(records, offset)], { type: "application/zip" });
}

function withName(name) {
  const record = new Uint8Array(46 + name.length);
  view(record).setUint16(28, name.length, true);
  record.set(name, 46);
  return record;
}
