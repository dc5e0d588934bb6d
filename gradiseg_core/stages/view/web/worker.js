// The worker: sorts Gaussians by depth and walks rays, so that the page never waits for either.

import { Picker } from "./picking.js";

const BUCKETS = 65536;
const counts = new Uint32Array(BUCKETS);
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);
let splats, picker, keys;

/** Return the bits of a positive float, which are in the order of the floats. */
function bitsOf(value) {
  float[0] = value;
  return bits[0];
}

/**
 * Write the indices of the Gaussians in front of the camera, the farthest first.
 *
 * One pass of counting over 65,536 buckets of the depth's float bits: they are finer where it is
 * nearer, by relative depth.
 *
 * @returns {shown, near, far}: how many there are, and depths that 5 % are nearer, farther than.
 */
function sort(view, nearest, offsets, order) {
  const { positions, objects, count } = splats;
  const depths = new Float32Array(keys.buffer);
  let [least, most] = [Infinity, nearest];
  for (let i = 0; i < count; i++) {
    const o = 4 * objects[i];
    const z =
      view[8] * (positions[3 * i] + offsets[o]) +
      view[9] * (positions[3 * i + 1] + offsets[o + 1]) +
      view[10] * (positions[3 * i + 2] + offsets[o + 2]) +
      view[11];
    const seen = z >= nearest && !offsets[o + 3];
    depths[i] = seen ? z : -1;
    if (!seen) continue;
    if (z < least) least = z;
    if (z > most) most = z;
  }
  if (least === Infinity) return { shown: 0, near: nearest, far: 2 * nearest };
  const first = bitsOf(least);
  let shift = 0;
  while ((bitsOf(most) - first) >>> shift >= BUCKETS) shift++;
  counts.fill(0);
  let shown = 0;
  for (let i = 0; i < count; i++) {
    if (keys[i] >>> 31) continue; // the sign of -1
    keys[i] = BUCKETS - 1 - ((keys[i] - first) >>> shift);
    counts[keys[i]]++;
    shown++;
  }
  let [start, far, near] = [0, most, least];
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const size = counts[bucket];
    const before = start;
    counts[bucket] = start;
    start += size;
    const depth = () => {
      bits[0] = first + ((BUCKETS - 1 - bucket) << shift);
      return float[0];
    };
    if (before <= 0.05 * shown && start > 0.05 * shown) far = depth();
    if (before <= 0.95 * shown && start > 0.95 * shown) near = depth();
  }
  for (let i = 0; i < count; i++) if (!(keys[i] >>> 31)) order[counts[keys[i]]++] = i;
  return { shown, near, far };
}

onmessage = ({ data: { number, splats: given, sort: sorting, pick } }) => {
  if (given) {
    splats = given;
    picker = new Picker(splats);
    keys = new Uint32Array(splats.count);
  } else if (sorting) {
    const start = performance.now();
    const { view, near, offsets, order } = sorting;
    const result = sort(view, near, offsets, order);
    postMessage({ number, order, ...result, ms: performance.now() - start }, [order.buffer]);
  } else if (pick) {
    postMessage({ number, picked: picker.pick(pick.shot, pick.x, pick.y, pick.offsets) });
  }
};
