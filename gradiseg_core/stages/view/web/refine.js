// What is meant by an object, more exactly: keys of a pick in section `edits`, made by the machine.

import { element } from "./ui.js";

const SWITCHES = [
  ["drop_floaters", "Without small parts that hang in the air"],
  ["largest_part", "The largest connected part alone"],
  ["hull", "All in its convex hull"],
];
const LENGTHS = [["shrink", "Smaller by"], ["grow", "Larger by"]];

/** Return the keys that `valueOf` says, in the order in which they apply; null where there is none. */
export function refinement(valueOf) {
  const found = {};
  for (const key of ["drop_floaters", "largest_part", "shrink", "grow", "hull"]) {
    const value = valueOf(key);
    const length = LENGTHS.some(([name]) => name === key);
    if (length ? Number(value) > 0 && Number.isFinite(Number(value)) : String(value) === "true") {
      found[key] = length ? Number(value) : true;
    }
  }
  return Object.keys(found).length ? found : null;
}

/**
 * Return the controls of an object.
 *
 * @param now its keys; null where it is as it was found.
 * @param changed called with the new keys, or null.
 */
export function refineControls(now, changed) {
  const inputs = new Map([
    ...SWITCHES.map(([key]) => [key, element("input", { type: "checkbox", checked: Boolean(now?.[key]) })]),
    ...LENGTHS.map(([key]) => [
      key, element("input", { type: "number", min: 0, step: "any", value: now?.[key] ?? "", placeholder: "0" }),
    ]),
  ]);
  const row = ([key, text]) => element("label", { title: `${key} in section edits` }, [text, inputs.get(key)]);
  const box = element("details", { id: "refine", open: Boolean(now) }, [
    element("summary", { textContent: "Refine" }),
    ...[...SWITCHES, ...LENGTHS].map(row),
    element("p", { id: "refined", textContent: "Lengths are in units of your model." }),
  ]);
  box.dataset.keys = JSON.stringify(now);
  const read = (key) => (inputs.get(key).type === "checkbox" ? inputs.get(key).checked : inputs.get(key).value);
  const tell = () => {
    const keys = refinement(read);
    box.dataset.keys = JSON.stringify(keys);
    changed(keys);
  };
  for (const input of inputs.values()) input.addEventListener("change", tell);
  return box;
}
