// What the page hands to a configuration: the section `edits`, and the prompts of `grounding`.

import { dot } from "./camera.js";

const quoted = (text) => JSON.stringify(text); // JSON's strings are YAML's

/** Return how an edit names an object: its name where only it has it, else its ID. */
function nameOf(object, objects) {
  const alone = object.name && objects.filter((other) => other.name === object.name).length === 1;
  return alone ? quoted(object.name) : String(object.id);
}

/**
 * Return section `edits` with what was done; "" where nothing was.
 *
 * @param now the state of Edits; object 0 is everything that is no object.
 * @param scene the page's: `unit` is the user's units in one of its own, `axes` are those of what
 *   things stand on, along which an edit moves; null: the model's own.
 */
export function editsYaml(now, { objects, unit, axes }, name = "from_view") {
  const named = (place) => {
    const whole = nameOf(objects[place - 1], objects);
    const keys = Object.entries(now.refined.get(place) ?? {}).map(([key, value]) => `, ${key}: ${value}`);
    return keys.length ? `{of: ${whole}${keys.join("")}}` : whole;
  };
  const steps = [];
  if (now.hidden.has(0)) {
    const left = objects.map((_, i) => i + 1).filter((place) => !now.hidden.has(place));
    steps.push(`{keep: [${left.map(named).join(", ")}]}`);
  } else {
    for (const place of [...now.hidden].sort((a, b) => a - b)) steps.push(`{remove: ${named(place)}}`);
  }
  for (const [place, colour] of now.colours) {
    if (!now.hidden.has(place)) steps.push(`{recolour: ${named(place)}, colour: ${quoted(colour)}}`);
  }
  for (const [place, move] of now.moves) {
    if (now.hidden.has(place)) continue;
    const along = axes ? axes.map((axis) => dot(axis, move)) : move;
    const by = along.map((value) => Number((value * unit).toFixed(6)));
    const world = axes ? "" : ", axes: world";
    if (by.some(Boolean)) steps.push(`{move: ${named(place)}, by_m: [${by.join(", ")}]${world}}`);
  }
  if (!steps.length) return "";
  return `edits:\n  ${name}:\n${steps.map((step) => `    - ${step}\n`).join("")}`;
}

/** Return section `grounding` that gives a prompt the IDs of objects, chosen by hand. */
export function promptYaml(chosen) {
  const prompt = chosen.find((object) => object.name)?.name ?? "my prompt";
  const ids = chosen.map((object) => object.id);
  return [
    "grounding:", "  backend: manual", "  manual: {selection: my_selection.json}",
    "# and in my_selection.json:", `# {${quoted(prompt)}: [${ids.join(", ")}]}`, "",
  ].join("\n");
}
