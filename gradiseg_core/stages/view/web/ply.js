// Writes Gaussians as 3DGS's PLY, as they are shown: quantised, moved, recoloured.

import { levels, LUMINANCE, quaternion, SH_C0 } from "./format.js";

const NAMES = [
  "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2",
  ...Array.from({ length: 45 }, (_, i) => `f_rest_${i}`),
  "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
];

/**
 * Return a PLY file of the Gaussians of some objects.
 *
 * @param chosen a Set of objects.
 * @param states the objects' states, as the renderer has them.
 * @param unit the user's units in one of the page's.
 */
export function plyOf(splats, chosen, states, unit) {
  const rows = [];
  for (let i = 0; i < splats.count; i++) if (chosen.has(splats.objects[i])) rows.push(i);
  const header = `ply\nformat binary_little_endian 1.0\nelement vertex ${rows.length}\n${NAMES.map((name) => `property float ${name}\n`).join("")}end_header\n`;
  const values = new Float32Array(rows.length * NAMES.length);
  const [scales, sh0] = [levels(splats.header.scale), levels(splats.header.sh0)];
  const quat = new Float64Array(4);
  rows.forEach((i, row) => {
    const at = row * NAMES.length;
    const { move, colour, shade: [gain, offset] } = states[splats.objects[i]];
    for (let axis = 0; axis < 3; axis++) {
      values[at + axis] = (splats.positions[3 * i + axis] + move[axis]) * unit;
      values[at + 55 + axis] = scales[splats.scale[axis][i]] + Math.log(unit);
    }
    // Recolouring is one affine map of all bands: colour * (gain * brightness + offset).
    const band = (three, constant) => {
      if (!colour) return three;
      const shade = gain * three.reduce((sum, value, c) => sum + LUMINANCE[c] * value, 0);
      return colour.map((value) => value * (shade + constant));
    };
    const base = [0, 1, 2].map((c) => 0.5 + SH_C0 * sh0[splats.sh0[c][i]]);
    band(base, offset).forEach((value, c) => (values[at + 6 + c] = (value - 0.5) / SH_C0));
    for (let k = 0; k < splats.bases; k++) {
      const own = [0, 1, 2].map((c) => (splats.sh[3 * k + c][i] - 128) * splats.header.sh_step);
      // f_rest runs channel by channel; what the page does not hold is 0.
      band(own, 0).forEach((value, c) => (values[at + 9 + 15 * c + k] = value));
    }
    const opacity = Math.min(Math.max(splats.opacity[i] / 255, 1e-4), 1 - 1e-4);
    values[at + 54] = Math.log(opacity / (1 - opacity));
    values.set(quaternion(splats, i, quat), at + 58);
  });
  return new Blob([header, values], { type: "application/octet-stream" });
}
