// Start of the page: read the data, draw, listen.

import { App } from "./app.js";
import { Background } from "./background.js";
import { showFallback } from "./fallback.js";
import { BrokenPage, readJson, readSplats } from "./format.js";
import { keys } from "./keys.js";
import { copyEdits, objectsPanel } from "./objects.js";
import { photographs } from "./photographs.js";
import { pointer } from "./pointer.js";
import { MODES, NoWebGl, Renderer } from "./renderer.js";
import { served } from "./served.js";
import { applyFragment } from "./state.js";
import { button, element } from "./ui.js";

const FORMAT = 1;
const textOf = (id) => document.getElementById(id).textContent;

/** Write the title, the views to choose from and the buttons. */
function bar(app) {
  const { scene } = app;
  document.getElementById("scene-name").textContent = scene.scene;
  const run = [scene.variant, scene.seed === null ? "" : `seed ${scene.seed}`].filter(Boolean).join(", ");
  const count = `${app.splats.count.toLocaleString("en")} Gaussians, ${scene.objects.length} objects`;
  document.getElementById("scene-run").textContent = `${run} · ${count}`;
  const notes = document.getElementById("notes");
  notes.append(...scene.notes.map((text) => element("p", { textContent: text })));
  notes.hidden = !scene.notes.length;

  const modes = document.getElementById("modes");
  const choices = MODES.map((mode) => {
    const title = mode[0].toUpperCase() + mode.slice(1);
    const choice = element("button", { type: "button", textContent: title, role: "radio" });
    choice.addEventListener("click", () => app.setMode(mode));
    modes.append(choice);
    return choice;
  });
  app.on("mode", () => choices.forEach((choice, i) => choice.setAttribute("aria-checked", MODES[i] === app.mode)));
  const legend = document.getElementById("legend");
  const ends = { confidence: ["unsure", "sure"], depth: ["far", "near"] };
  app.on("mode", () => {
    legend.hidden = !ends[app.mode];
    legend.dataset.mode = app.mode;
    if (ends[app.mode]) [legend.firstElementChild.textContent, legend.lastElementChild.textContent] = ends[app.mode];
  });

  const undo = button("undo", "Undo (Ctrl+Z)", () => app.edits.undo());
  const redo = button("redo", "Redo (Ctrl+Shift+Z)", () => app.edits.redo());
  const all = button("eye", "Show everything (A)", () => app.showAll(), "Show all");
  const copy = button("copy", "Copy what was done as section `edits` (C)", () => copyEdits(app), "Copy as edit");
  document.getElementById("tools").append(
    undo, redo, all, copy,
    button("home", "Back to the start (0)", () => app.goHome()),
    button("theme", "Dark or light (T)", () => app.setTheme()),
    button("help", "Help (?)", () => document.getElementById("help").showModal()),
  );
  all.id = "show-all";
  copy.id = "copy-edit";
  const refresh = () => {
    undo.disabled = !app.edits.past.length;
    redo.disabled = !app.edits.future.length;
    all.hidden = !app.edits.now.hidden.size;
    copy.hidden = app.edits.empty;
    app.renderer.canvas.classList.toggle("moving", app.moving);
    document.getElementById("moving").hidden = !app.moving;
  };
  app.on("states", refresh);
  refresh();
}

/** Let a phone show one of the two lists at a time, and neither where the picture is wanted. */
function tabs(app) {
  const root = document.getElementById("app");
  const choices = [...document.querySelectorAll("#tabs button")];
  const show = (tab) => {
    root.dataset.tab = tab;
    choices.forEach((choice) => choice.setAttribute("aria-pressed", choice.dataset.tab === tab));
  };
  choices.forEach((choice) => choice.addEventListener("click", () =>
    show(root.dataset.tab === choice.dataset.tab ? "none" : choice.dataset.tab)));
  app.on("selection", () => app.selected.size && show("objects"));
  show("objects");
}

async function start() {
  const times = { start: performance.now() };
  const scene = readJson("scene");
  if (scene.format !== FORMAT) {
    throw new BrokenPage(`The data has format ${scene.format}, this viewer reads ${FORMAT}: make the page again.`);
  }
  const splats = await readSplats(textOf("splats"), scene.splats, scene.objects.length);
  times.read = performance.now();
  document.getElementById("splats").remove();
  const canvas = document.getElementById("canvas");
  canvas.addEventListener("webglcontextlost", () => showFallback(
    "The graphics device was reset, or ran out of memory.", "Reload the page to try again.",
  ));
  const renderer = new Renderer(canvas, splats, textOf);
  times.uploaded = performance.now();
  const background = new Background(textOf("worker.js"), splats);
  const app = new App({ scene, splats, renderer, background });
  Object.assign(app.times, times);
  bar(app);
  objectsPanel(app);
  photographs(app);
  pointer(app, canvas);
  keys(app);
  tabs(app);
  served(app);
  app.setMode("colour");
  if (location.hash.length > 1) applyFragment(app, location.hash);
  app.unsorted = true;
  await new Promise((done) => {
    app.on("sorted", done);
    app.redraw();
  });
  await app.settled();
  document.documentElement.dataset.state = "ready";
  return app;
}

// For tests and scripts: `await gradiseg` is the App.
globalThis.gradiseg = start().catch((error) => {
  if (error instanceof NoWebGl) {
    showFallback(error.message, "Open the file in a current Chrome, Edge, Firefox or Safari, with hardware acceleration on. These pictures were made with the scene:");
  } else if (error instanceof BrokenPage) {
    showFallback(error.message, "Make it again: snakemake --cores all views.");
  } else {
    showFallback(`The viewer failed: ${error.message}`, "Please report it, with this message.");
    console.error(error);
  }
  return null;
});
