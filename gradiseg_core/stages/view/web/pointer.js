// Mouse, pen and fingers on the picture: turn, pan, zoom, click, drag an object.

import { dot, minus, plus, ray } from "./camera.js";

const CLICK = 5; // px that a click may move
const TURN = 0.006; // radians a px

/** Listen to the canvas. */
export function pointer(app, canvas) {
  const down = new Map(); // pointers that are down: id -> [x, y]
  let [travelled, started, grab] = [0, null, null];
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const fingers = () => {
    const [[ax, ay], [bx, by]] = [...down.values()];
    return { x: (ax + bx) / 2, y: (ay + by) / 2, apart: Math.hypot(ax - bx, ay - by) };
  };

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", async (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    down.set(event.pointerId, place(event));
    if (down.size > 1) return void (started = grab = null);
    [travelled, started, grab] = [0, place(event), null];
    if (app.moving && event.button === 0) {
      const at = started;
      const picked = await app.pick(...at);
      if (started === at && app.selected.has(picked.object)) grab = grabbed(app, at, picked.depth);
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    const now = place(event);
    if (!before) return void app.point(...now);
    const two = down.size === 2 ? fingers() : null;
    down.set(event.pointerId, now);
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    travelled += Math.hypot(dx, dy);
    if (two) {
      const after = fingers();
      app.camera.pan(after.x - two.x, after.y - two.y, app.windowShot());
      app.camera.zoom(two.apart / Math.max(after.apart, 1));
    } else if (travelled <= CLICK) {
      return undefined;
    } else if (grab) {
      return void grab(now, event.shiftKey);
    } else if (event.buttons & 6 || event.shiftKey) {
      app.camera.pan(dx, dy, app.windowShot());
    } else {
      app.camera.orbit(dx * TURN, -dy * TURN);
    }
    return void app.cameraMoved();
  });
  const up = async (event) => {
    const click = event.type === "pointerup" && event.button === 0 && started && travelled <= CLICK;
    down.delete(event.pointerId);
    const at = started;
    started = grab = null;
    if (!click) return;
    const { object } = await app.pick(...at);
    app.select(object ? [object] : [], event.ctrlKey || event.metaKey || event.shiftKey);
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => app.hover(0));
  canvas.addEventListener("dblclick", async (event) => {
    const at = place(event);
    const { depth } = await app.pick(...at);
    if (!depth) return;
    const shot = app.windowShot();
    app.fly(() => app.camera.lookAt(plus(shot.eye, ray(shot, ...at), depth), 0.6 * app.camera.distance));
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    app.camera.zoom(Math.exp(Math.max(-0.5, Math.min(0.5, event.deltaY * lines * 0.0012))));
    app.cameraMoved();
  }, { passive: false });
}

/**
 * Return what moves the selection with the pointer: on the plane through the point that was
 * grabbed, parallel to what things stand on; with the shift key, up and down.
 */
function grabbed(app, at, depth) {
  const { up } = app.scene;
  const shot = app.windowShot();
  const point = plus(shot.eye, ray(shot, ...at), depth);
  const before = new Map([...app.selected].map((place) => [place, app.edits.now.moves.get(place) ?? [0, 0, 0]]));
  let first = true;
  return (now, vertical) => {
    const direction = ray(shot, ...now);
    const forward = shot.view.slice(8, 11);
    // Up and down: the plane that stands upright and faces the camera.
    const normal = vertical ? minus(forward, up.map((value) => value * dot(forward, up))) : up;
    const slope = dot(direction, normal);
    if (Math.abs(slope) < 1e-3 * Math.hypot(...direction)) return;
    const distance = dot(minus(point, shot.eye), normal) / slope;
    if (distance <= 0 || distance > 10 * app.scene.radius + 10 * depth) return;
    let by = minus(plus(shot.eye, direction, distance), point);
    if (vertical) by = up.map((value) => value * dot(by, up));
    const work = ({ moves }) => {
      for (const [place, from] of before) moves.set(place, plus(from, by));
    };
    if (first) app.edits.change(work);
    else app.edits.adjust(work);
    first = false;
  };
}
