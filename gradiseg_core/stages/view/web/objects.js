// The list of objects, with search, and the card of what is selected.

import { editsYaml, promptYaml } from "./yaml.js";
import { plyOf } from "./ply.js";
import { button, copyText, download, element, icon } from "./ui.js";

const percent = (share) => `${Math.round(100 * share)} %`;

/** Return what an object is called. */
export const titleOf = (object) => object.name ?? `Object ${object.id}`;

/** Return three lengths in at most three digits, the largest first; units are those of the model. */
function sizeOf(object) {
  return [...object.size].sort((a, b) => b - a).map((value) => Number(value.toPrecision(2))).join(" × ");
}

/** Return an object's picture, or a square of its colour. */
function pictureOf(object) {
  if (!object.picture) return element("span", { className: "swatch", style: { background: object.colour } });
  return element("img", { src: object.picture, alt: "", draggable: false });
}

/** Fill the panel, and keep it true to the app. */
export function objectsPanel(app) {
  const list = document.getElementById("objects");
  const search = document.getElementById("search");
  const rows = app.scene.objects.map((object, i) => row(app, object, i + 1));
  const empty = element("p", { className: "empty", textContent: "No object is called so." });
  list.append(...rows, empty);
  if (!rows.length) empty.textContent = "No Gaussian has the ID of an object.";
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    rows.forEach((item, i) => {
      const object = app.scene.objects[i];
      const text = `${titleOf(object)} id ${object.id}`.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
      found += !item.hidden;
    });
    empty.hidden = found > 0;
  };
  search.addEventListener("input", filter);
  search.addEventListener("keydown", (event) => {
    const first = rows.findIndex((item) => !item.hidden);
    if (event.key === "Enter" && first >= 0) app.select([first + 1]);
    if (event.key === "Escape") {
      search.value = "";
      filter();
      search.blur();
    }
  });
  filter();
  const refresh = () => {
    rows.forEach((item, i) => {
      item.classList.toggle("selected", app.selected.has(i + 1));
      item.setAttribute("aria-selected", app.selected.has(i + 1));
      item.classList.toggle("hovered", app.hovered === i + 1);
      item.classList.toggle("off", app.edits.now.hidden.has(i + 1));
      const eye = item.querySelector("button");
      const off = app.edits.now.hidden.has(i + 1);
      eye.replaceChildren(icon(off ? "eye-off" : "eye"));
      eye.title = off ? "Show" : "Hide";
      eye.setAttribute("aria-label", `${eye.title} ${titleOf(app.scene.objects[i])}`);
    });
    card(app);
  };
  app.on("states", refresh);
  app.on("selection", () => {
    refresh();
    const [first] = app.selected;
    if (first) rows[first - 1].scrollIntoView({ block: "nearest" });
  });
  refresh();
}

function row(app, object, place) {
  const seen = Object.keys(object.views).length;
  const item = element("li", { tabIndex: 0, role: "option" }, [
    pictureOf(object),
    element("span", { className: "name" }, [
      element("span", { textContent: titleOf(object) }),
      element("small", {}, [
        element("i", { className: "dot", style: { background: object.colour } }),
        `ID ${object.id}${seen ? ` · ${seen} photographs` : ""}`,
      ]),
    ]),
    button("eye", "Hide", (event) => {
      event.stopPropagation();
      app.toggleHidden([place]);
    }),
  ]);
  item.dataset.id = object.id;
  item.addEventListener("click", (event) => app.select([place], event.ctrlKey || event.metaKey || event.shiftKey));
  item.addEventListener("dblclick", () => app.frame([place]));
  item.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      event.stopPropagation();
      app.select([place], event.ctrlKey || event.metaKey || event.shiftKey);
    }
  });
  item.addEventListener("pointerenter", () => app.hover(place));
  item.addEventListener("pointerleave", () => app.hover(0));
  return item;
}

/** Draw the card of the selection. */
function card(app) {
  const box = document.getElementById("card");
  const chosen = [...app.selected].map((place) => app.scene.objects[place - 1]);
  const signature = JSON.stringify([[...app.selected], [...app.edits.now.hidden], app.moving]);
  if (box.dataset.signature === signature) {
    const colour = box.querySelector("input[type=color]");
    if (colour) colour.value = colourOf(app);
    return undefined;
  }
  box.dataset.signature = signature;
  box.hidden = !chosen.length;
  if (!chosen.length) return void box.replaceChildren();
  const one = chosen.length === 1 ? chosen[0] : null;
  const count = chosen.reduce((sum, object) => sum + object.count, 0);
  const sure = chosen.reduce((sum, object) => sum + object.count * object.confidence, 0) / Math.max(count, 1);
  const facts = [
    ["ID", chosen.map((object) => object.id).join(", ")],
    ...(one ? [["Size", sizeOf(one)]] : []),
    ["Gaussians", count.toLocaleString("en")],
    ["Confidence", percent(sure)],
  ];
  const head = element("header", {}, [
    ...(one ? [pictureOf(one)] : []),
    element("h2", { textContent: one ? titleOf(one) : `${chosen.length} objects` }),
    button("close", "Clear the selection (Esc)", () => app.select([])),
  ]);
  const table = element("dl", {}, facts.flatMap(([term, text]) => [
    element("dt", { textContent: term }), element("dd", { textContent: text }),
  ]));
  table.querySelector("dd").id = "selected-ids";
  const parts = [head, table];
  if (one) parts.push(...seenIn(app, one));
  parts.push(actions(app, chosen));
  return void box.replaceChildren(...parts);
}

/** Return the photographs that show an object best, to jump to. */
function seenIn(app, object) {
  const views = Object.entries(object.views).sort((a, b) => b[1] - a[1]);
  const known = new Map(app.scene.cameras.map((camera, i) => [camera.name, i]));
  const training = app.scene.cameras.filter((camera) => camera.split !== "test").length;
  if (!views.length) return [];
  const best = views.filter(([name]) => known.has(name)).slice(0, 4);
  return [
    element("p", { className: "seen", textContent: `Seen in ${views.length} of ${training} training photographs` }),
    element("div", { className: "best" }, best.map(([name]) => {
      const number = known.get(name);
      const small = element("button", { title: name, type: "button" }, [
        element("img", { src: app.scene.cameras[number].picture, alt: name }),
      ]);
      small.addEventListener("click", () => app.jump(number));
      return small;
    })),
  ];
}

/** Return the colour that the first of the selection was given, or that of its ID. */
function colourOf(app) {
  const [first] = app.selected;
  return app.edits.now.colours.get(first) ?? app.scene.objects[first - 1].colour;
}

function actions(app, chosen) {
  const places = [...app.selected];
  const hidden = places.every((place) => app.edits.now.hidden.has(place));
  const colour = element("input", {
    type: "color", value: colourOf(app), ariaLabel: "New colour",
  });
  // One step to undo, however often the colour changes while the picker is open.
  let open = false;
  colour.addEventListener("input", () => {
    app.recolour(places, colour.value, open);
    open = true;
  });
  colour.addEventListener("change", () => (open = false));
  const recolour = element("label", { className: "button", title: "Give it another colour" }, [
    icon("colour"), element("span", { textContent: "Colour" }), colour,
  ]);
  const move = button("move", "Drag it on what it stands on (M)", () => app.setMoving(!app.moving), "Move");
  move.setAttribute("aria-pressed", app.moving);
  return element("div", { className: "actions" }, [
    button(hidden ? "eye" : "eye-off", hidden ? "Show it again (H)" : "Hide it (H)", () => app.toggleHidden(places), hidden ? "Show" : "Hide"),
    button("isolate", "Hide all else (I)", () => app.isolate(places), "Isolate"),
    recolour,
    move,
    button("copy", "Copy section `grounding` with this ID", () => copyText(promptYaml(chosen), "Prompt ID copied"), "Prompt ID"),
    button("download", "Download as PLY, as it is shown", () => {
      const name = chosen.map((object) => titleOf(object).replace(/\W+/g, "_")).join("-").slice(0, 60);
      download(plyOf(app.splats, app.selected, app.states(), app.scene.unit), `${name}.ply`);
    }, "PLY"),
  ]);
}

/** Copy what was done as section `edits`. */
export function copyEdits(app) {
  const text = editsYaml(app.edits.now, app.scene);
  copyText(text, text ? "Edits copied" : "Nothing has been changed yet");
}
