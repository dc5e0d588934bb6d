// The camera: a pinhole as COLMAP's (x right, y down, z forward) that turns around a point.

export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const plus = (a, b, share = 1) => a.map((value, i) => value + share * b[i]);
export const minus = (a, b) => plus(a, b, -1);
const unit = (a) => a.map((value) => value / Math.hypot(...a));

/** Return vector `a` turned by an angle around a unit axis (Rodrigues). */
function turned(a, axis, angle) {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const cross = [axis[1] * a[2] - axis[2] * a[1], axis[2] * a[0] - axis[0] * a[2], axis[0] * a[1] - axis[1] * a[0]];
  const along = dot(axis, a) * (1 - c);
  return a.map((value, i) => value * c + cross[i] * s + axis[i] * along);
}

/** Return the quaternion wxyz of a rotation whose rows are given. */
export function quaternionOf([r0, r1, r2]) {
  const t = [r0[0] + r1[1] + r2[2], r0[0] - r1[1] - r2[2], r1[1] - r0[0] - r2[2], r2[2] - r0[0] - r1[1]];
  const k = t.indexOf(Math.max(...t));
  const s = Math.sqrt(1 + t[k]) * 2;
  const [a, b, c] = [(r2[1] - r1[2]) / s, (r0[2] - r2[0]) / s, (r1[0] - r0[1]) / s];
  const [d, e, f] = [(r0[1] + r1[0]) / s, (r0[2] + r2[0]) / s, (r1[2] + r2[1]) / s];
  return [[s / 4, a, b, c], [a, s / 4, d, e], [b, d, s / 4, f], [c, e, f, s / 4]][k];
}

/** Return the rows of the rotation of a quaternion wxyz. */
export function rowsOf(q) {
  const [w, x, y, z] = q.map((value) => value / Math.hypot(...q));
  return [
    [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
  ];
}

/** A camera: its axes (rows), its centre, the distance of the point it turns around, its lens. */
export class Camera {
  constructor(scene) {
    this.scene = scene;
    this.take(scene.home);
  }

  /** Stand where photograph `number` was taken from. */
  take(number) {
    const photo = this.scene.cameras[number];
    this.axes = photo.rotation.map((row) => [...row]);
    this.center = [...photo.center];
    this.lens = number;
    this.distance = Math.max(
      dot(minus(this.scene.pivot, this.center), this.axes[2]), 0.1 * this.scene.radius,
    );
    return this;
  }

  get pivot() {
    return plus(this.center, this.axes[2], this.distance);
  }

  /**
   * Return the picture that a window shows: the lens's photograph fits into what is free of it.
   *
   * @param covered px that other things cover at the window's right, top and bottom.
   */
  shot(width, height, covered = [0, 0, 0]) {
    const photo = this.scene.cameras[this.lens];
    const [right, above, below] = covered;
    const [free, high] = [Math.max(width - right, 1), Math.max(height - above - below, 1)];
    const scale = Math.min(free / photo.width, high / photo.height);
    const left = (free - scale * photo.width) / 2;
    const top = above + (high - scale * photo.height) / 2;
    return {
      view: this.axes.flatMap((row) => [...row, -dot(row, this.center)]),
      eye: this.center, near: this.scene.near, width, height,
      fx: photo.fx * scale, fy: photo.fy * scale,
      cx: photo.cx * scale + left, cy: photo.cy * scale + top,
      frame: { left, top, width: scale * photo.width, height: scale * photo.height },
    };
  }

  orbit(yaw, pitch) {
    const pivot = this.pivot;
    const lean = Math.asin(Math.max(-1, Math.min(1, dot(this.axes[2], this.scene.up))));
    pitch = Math.max(-1.5 - lean, Math.min(1.5 - lean, pitch));
    const steps = [[this.scene.up, -yaw], [unit(turned(this.axes[0], this.scene.up, -yaw)), pitch]];
    for (const [axis, angle] of steps) {
      this.axes = this.axes.map((row) => turned(row, axis, angle));
    }
    this.center = plus(pivot, this.axes[2], -this.distance);
  }

  /** Move across by pixels of a picture. */
  pan(dx, dy, shot) {
    const step = this.distance / shot.fx;
    this.center = plus(plus(this.center, this.axes[0], -dx * step), this.axes[1], -dy * step);
  }

  zoom(factor) {
    const pivot = this.pivot;
    const { radius } = this.scene;
    this.distance = Math.max(0.01 * radius, Math.min(20 * radius, this.distance * factor));
    this.center = plus(pivot, this.axes[2], -this.distance);
  }

  /** Turn around another point from now on, and look at it from as far as `distance`. */
  lookAt(point, distance) {
    this.distance = distance;
    this.center = plus(point, this.axes[2], -distance);
  }

  /** Return eight numbers that :func:`restore` takes: centre, quaternion, distance. */
  saved() {
    return [...this.center, ...quaternionOf(this.axes), this.distance];
  }

  restore(numbers, lens) {
    this.center = numbers.slice(0, 3);
    this.axes = rowsOf(numbers.slice(3, 7));
    this.distance = numbers[7];
    if (this.scene.cameras[lens]) this.lens = lens;
  }

  /** Stand between two saved places, share 0..1 of the way. */
  between(from, to, share) {
    const sign = Math.sign(from.slice(3, 7).reduce((sum, value, i) => sum + value * to[3 + i], 0)) || 1;
    const mixed = from.map((value, i) => {
      const end = i > 2 && i < 7 ? sign * to[i] : to[i];
      return value + share * (end - value);
    });
    this.restore(mixed, this.lens);
  }
}

/** Return the world direction of a point of a picture, with 1 along the optical axis. */
export function ray(shot, x, y) {
  const [a, b, v] = [(x - shot.cx) / shot.fx, (y - shot.cy) / shot.fy, shot.view];
  return [0, 1, 2].map((i) => a * v[i] + b * v[4 + i] + v[8 + i]);
}
