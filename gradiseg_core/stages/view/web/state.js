// What one sees, in the URL's fragment, so that a link shows it again.

import { nothing } from "./edits.js";
import { refinement } from "./refine.js";

const number = (value) => Number(value.toPrecision(6));

/** Return the fragment of what `app` shows. */
export function fragmentOf(app) {
  const { camera, edits: { now }, scene, selected } = app;
  const id = (place) => (place ? scene.objects[place - 1].id : 0);
  const parts = {
    at: camera.saved().map(number).join(","),
    lens: camera.lens,
    show: app.mode === "colour" ? "" : app.mode,
    select: [...selected].map(id).join(","),
    hide: [...now.hidden].map(id).join(","),
    colour: [...now.colours].map(([place, hex]) => `${id(place)}:${hex.slice(1)}`).join(","),
    refine: [...now.refined].map(([place, keys]) => [id(place), ...Object.entries(keys).flat()].join(":")).join(","),
    move: [...now.moves].map(([place, by]) => `${id(place)}:${by.map(number).join(":")}`).join(","),
  };
  return Object.entries(parts)
    .filter(([, value]) => value !== "")
    .map(([key, value]) => `${key}=${value}`)
    .join("&");
}

/** Bring `app` to a fragment; what cannot be read in it, or does not exist here, is left out. */
export function applyFragment(app, fragment) {
  const parts = new Map(fragment.replace(/^#/, "").split("&").map((part) => part.split("=")));
  const list = (key) => (parts.get(key) || "").split(",").filter(Boolean);
  const places = new Map(app.scene.objects.map((object, i) => [object.id, i + 1]));
  places.set(0, 0);
  const known = (key) => list(key).map((id) => places.get(Number(id))).filter((place) => place !== undefined);
  const at = list("at").map(Number);
  if (at.length === 8 && at.every(Number.isFinite) && at[7] > 0) {
    app.camera.restore(at, Number(parts.get("lens")));
  }
  app.setMode(parts.get("show") ?? "colour");
  app.select(known("select").filter((place) => place > 0));
  const now = { ...nothing(), hidden: new Set(known("hide")) };
  for (const item of list("colour")) {
    const [id, hex] = item.split(":");
    if (places.get(Number(id)) && /^[0-9a-f]{6}$/i.test(hex)) now.colours.set(places.get(Number(id)), `#${hex}`);
  }
  for (const item of list("move")) {
    const [id, ...by] = item.split(":").map(Number);
    if (places.get(id) && by.length === 3 && by.every(Number.isFinite)) now.moves.set(places.get(id), by);
  }
  for (const item of list("refine")) {
    const [id, ...words] = item.split(":");
    const keys = refinement((key) => words.includes(key) && words[words.indexOf(key) + 1]);
    if (places.get(Number(id)) && keys) now.refined.set(places.get(Number(id)), keys);
  }
  app.edits.adjust((state) => Object.assign(state, now));
}
