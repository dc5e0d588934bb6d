// Which object a pixel shows: the Gaussians along its ray, blended as they are drawn.

import { levels, quaternion } from "./format.js";

const EXTENT = 3.33; // standard deviations; where alpha has fallen below 1/255 at any opacity
const LOW_PASS = 0.3; // px^2
const MARGIN = 0.15; // of the image, where the Jacobian stops following the centre

/** Walks the Gaussians of a scene along rays. */
export class Picker {
  constructor(splats) {
    this.splats = splats;
    this.scales = levels(splats.header.scale).map(Math.exp);
    this.quat = new Float64Array(4);
  }

  /**
   * Return the object with the largest blending weight in a pixel.
   *
   * @param shot {view: row-major 3x4, fx, fy, cx, cy, width, height, near}, px of the picture.
   * @param x, y the point, px.
   * @param offsets xyz of every object's move, then 1 where it is hidden.
   * @returns {object, weight, depth, weights}: object 0 is none; weights lists [object, weight].
   */
  pick(shot, x, y, offsets) {
    const hits = this.along(shot, x, y, offsets);
    hits.sort((a, b) => a.z - b.z);
    const weights = new Map();
    const depths = new Map();
    let left = 1;
    for (const { i, z, alpha } of hits) {
      if (left * (1 - alpha) < 1e-4) break;
      const object = this.splats.objects[i];
      weights.set(object, (weights.get(object) ?? 0) + left * alpha);
      depths.set(object, (depths.get(object) ?? 0) + left * alpha * z);
      left *= 1 - alpha;
    }
    const list = [...weights].sort((a, b) => b[1] - a[1]);
    // What is hardly there is not what was clicked.
    if (!list.length || 1 - left < 0.1) return { object: 0, weight: 0, depth: 0, weights: list };
    const [object, weight] = list[0];
    return { object, weight, depth: depths.get(object) / weight, weights: list };
  }

  /** Return the Gaussians that touch a pixel: index, depth and alpha there. */
  along(shot, x, y, offsets) {
    const { positions, objects, scale, opacity, count } = this.splats;
    const { view: v, fx, fy, cx, cy, width, height, near } = shot;
    const [leftmost, rightmost] = [-cx / fx - (MARGIN * width) / fx, (width - cx) / fx + (MARGIN * width) / fx];
    const [top, bottom] = [-cy / fy - (MARGIN * height) / fy, (height - cy) / fy + (MARGIN * height) / fy];
    const hits = [];
    for (let i = 0; i < count; i++) {
      const o = 4 * objects[i];
      if (offsets[o + 3]) continue;
      const px = positions[3 * i] + offsets[o];
      const py = positions[3 * i + 1] + offsets[o + 1];
      const pz = positions[3 * i + 2] + offsets[o + 2];
      const z = v[8] * px + v[9] * py + v[10] * pz + v[11];
      if (z < near) continue;
      const sx = (v[0] * px + v[1] * py + v[2] * pz + v[3]) / z;
      const sy = (v[4] * px + v[5] * py + v[6] * pz + v[7]) / z;
      const dx = x - (fx * sx + cx);
      const dy = y - (fy * sy + cy);
      const size = this.scales[Math.max(scale[0][i], scale[1][i], scale[2][i])];
      const reach = (EXTENT * size * Math.max(fx, fy) * (1 + Math.abs(sx) + Math.abs(sy))) / z + 3;
      if (Math.abs(dx) > reach || Math.abs(dy) > reach) continue;
      const slopeX = Math.min(Math.max(sx, leftmost), rightmost);
      const slopeY = Math.min(Math.max(sy, top), bottom);
      const alpha = this.alpha(i, v, fx / z, fy / z, slopeX, slopeY, dx, dy) * (opacity[i] / 255);
      if (alpha >= 1 / 255) hits.push({ i, z, alpha: Math.min(alpha, 0.999) });
    }
    return hits;
  }

  /** Return exp(-d' C^-1 d / 2) at d = (dx, dy) from the centre, with C = J W Sigma W' J' + 0.3. */
  alpha(i, v, jx, jy, slopeX, slopeY, dx, dy) {
    const [w, x, y, z] = quaternion(this.splats, i, this.quat);
    const axes = [
      1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
      2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
      2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ];
    let [xx, xy, yy] = [LOW_PASS, 0, LOW_PASS];
    for (let axis = 0; axis < 3; axis++) {
      const size = this.scales[this.splats.scale[axis][i]];
      const [a, b, c] = [axes[axis] * size, axes[3 + axis] * size, axes[6 + axis] * size];
      const depth = v[8] * a + v[9] * b + v[10] * c;
      const ux = jx * (v[0] * a + v[1] * b + v[2] * c - slopeX * depth);
      const uy = jy * (v[4] * a + v[5] * b + v[6] * c - slopeY * depth);
      xx += ux * ux;
      xy += ux * uy;
      yy += uy * uy;
    }
    const power = (yy * dx * dx - 2 * xy * dx * dy + xx * dy * dy) / (xx * yy - xy * xy);
    return Math.exp(-0.5 * power);
  }
}
