// The keyboard: one table for what keys do and for the help.

import { copyEdits } from "./objects.js";
import { MODES } from "./renderer.js";
import { element } from "./ui.js";

const STEP = 0.08; // radians of an arrow key

/** Return the rows of the table: keys, what they do in words, and the function. */
function commands(app) {
  const turn = (yaw, pitch) => () => {
    app.camera.orbit(yaw, pitch);
    app.cameraMoved();
  };
  const zoom = (factor) => () => {
    app.camera.zoom(factor);
    app.cameraMoved();
  };
  const selected = () => [...app.selected];
  const photograph = (step) => () => {
    const count = app.scene.cameras.length;
    app.jump(((app.photograph ?? app.camera.lens) + step + count) % count);
  };
  return [
    [["ArrowLeft"], "", turn(STEP, 0)], [["ArrowRight"], "", turn(-STEP, 0)],
    [["ArrowUp"], "", turn(0, -STEP)], [["ArrowDown"], "Arrows: turn", turn(0, STEP)],
    [["+", "="], "", zoom(0.9)], [["-"], "+ and −: nearer, farther", zoom(1 / 0.9)],
    [["f"], "F: look at the selection", () => app.frame(selected())],
    [["0", "Home"], "0: back to the start", () => app.goHome()],
    [["["], "", photograph(-1)], [["]"], "[ and ]: previous, next photograph", photograph(1)],
    ...MODES.map((mode, i) => [[String(i + 1)], i === 4 ? "1 to 5: colour, objects, identity, confidence, depth" : "", () => app.setMode(mode)]),
    [["/"], "/: search", () => document.getElementById("search").focus()],
    [["h"], "H: hide or show the selection", () => selected().length && app.toggleHidden(selected())],
    [["i"], "I: hide all else", () => selected().length && app.isolate(selected())],
    [["a"], "A: show everything", () => app.showAll()],
    [["m"], "M: drag the selection (Shift: up and down)", () => app.setMoving(!app.moving)],
    [["c"], "C: copy as edit", () => copyEdits(app)],
    [["t"], "T: dark or light", () => app.setTheme()],
    [["Escape"], "Esc: clear the selection", () => app.select([])],
    [["?"], "?: this help", () => document.getElementById("help").showModal()],
  ];
}

/** Listen to the keyboard, and write the help. */
export function keys(app) {
  const rows = commands(app);
  const act = new Map(rows.flatMap(([names, , work]) => names.map((name) => [name, work])));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input:not([type=range]):not([type=color]), textarea, select");
    if (typing || document.querySelector("dialog[open]")) return;
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (command && (key === "z" || key === "y")) {
      event.preventDefault();
      if (key === "y" || event.shiftKey) app.edits.redo();
      else app.edits.undo();
      return;
    }
    if (command || event.altKey || !act.has(key)) return;
    if (event.target.matches?.("input[type=range]") && key.startsWith("Arrow")) return;
    event.preventDefault();
    act.get(key)();
  });
  const words = rows.map(([, text]) => text).filter(Boolean);
  words.push("Ctrl+Z, Ctrl+Shift+Z: undo, redo");
  const list = document.querySelector("#help ul.keys");
  list.append(...words.map((text) => {
    const [names, what] = text.split(/: (.*)/);
    return element("li", {}, [element("kbd", { textContent: names }), element("span", { textContent: what })]);
  }));
}
