// Reads the Gaussians that gradiseg_core/stages/view/splats.py wrote: base64 of gzip of columns.

const SQRT_HALF = Math.SQRT1_2;
/** How bright red, green and blue look (Rec. 709). */
export const LUMINANCE = [0.2126, 0.7152, 0.0722];

/** Constant of the harmonic of degree 0. */
export const SH_C0 = 0.28209479177387814;

/** What is wrong with the page's data, in words for the person who opened it. */
export class BrokenPage extends Error {}

/** Return the JSON of a data block of the page. */
export function readJson(id) {
  const block = document.getElementById(id);
  if (!block) throw new BrokenPage(`The block “${id}” is missing: the file is not complete.`);
  try {
    return JSON.parse(block.textContent);
  } catch {
    throw new BrokenPage(`The block “${id}” cannot be read: the file is damaged.`);
  }
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function decompressed(text) {
  if (!globalThis.DecompressionStream) {
    throw new BrokenPage("This browser cannot decompress the scene: it needs DecompressionStream.");
  }
  try {
    const packed = new Blob([fromBase64(text.trim())]);
    const stream = packed.stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    throw new BrokenPage("The Gaussians cannot be decompressed: the file is damaged or cut short.");
  }
}

/**
 * Return the Gaussians of a page.
 *
 * Columns stay bytes, one Uint8Array each; positions become floats and objects 16-bit numbers.
 */
export async function readSplats(text, header, objectCount) {
  const body = await decompressed(text);
  const { count, chunk, bases, top } = header;
  const chunks = Math.ceil(count / chunk);
  if (!(count > 0) || body.length !== 24 * chunks + count * (6 + 3 + 4 + 1 + 3 + 3 * bases + 6)) {
    throw new BrokenPage("The Gaussians do not fit their header: the file is of another version.");
  }
  const boxes = new Float32Array(body.buffer, 0, 6 * chunks);
  let at = 24 * chunks;
  const take = (number) =>
    Array.from({ length: number }, () => body.subarray(at, (at += count)));
  const halves = take(6);
  const positions = new Float32Array(3 * count);
  for (let axis = 0; axis < 3; axis++) {
    const [low, high] = [halves[2 * axis], halves[2 * axis + 1]];
    for (let i = 0; i < count; i++) {
      const box = 6 * Math.floor(i / chunk) + axis;
      positions[3 * i + axis] = boxes[box] + ((low[i] + 256 * high[i]) / top) * boxes[box + 3];
    }
  }
  const splats = {
    count, bases, header, positions,
    scale: take(3), smaller: take(3), largest: take(1)[0], opacity: take(1)[0],
    sh0: take(3), sh: take(3 * bases),
  };
  const [low, high] = take(2);
  splats.objects = new Uint16Array(count);
  for (let i = 0; i < count; i++) {
    splats.objects[i] = low[i] + 256 * high[i];
    if (splats.objects[i] > objectCount) {
      throw new BrokenPage("A Gaussian belongs to an object that the table lacks.");
    }
  }
  splats.confidence = take(1)[0];
  splats.identity = take(3);
  return splats;
}

/** Return the 256 numbers that the bytes of a column stand for, from low to high. */
export function levels([low, high]) {
  return Float32Array.from({ length: 256 }, (_, level) => low + (level * (high - low)) / 255);
}

/** Write the unit quaternion wxyz of Gaussian i into `out`. */
export function quaternion(splats, i, out) {
  const largest = splats.largest[i];
  let rest = 1;
  for (let k = 0, j = 0; j < 4; j++) {
    if (j === largest) continue;
    const value = (splats.smaller[k++][i] / 127.5 - 1) * SQRT_HALF;
    out[j] = value;
    rest -= value * value;
  }
  out[largest] = Math.sqrt(Math.max(rest, 0));
  return out;
}
