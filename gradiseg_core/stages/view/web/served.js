// What a page can do beside that is served by `gradiseg view`: ask, apply, save, export.

import { nothing } from "./edits.js";
import { titleOf } from "./objects.js";
import { refineControls } from "./refine.js";
import { button, toast } from "./ui.js";
import { editsYaml } from "./yaml.js";

/** Ask the machine; say what went wrong, and return null then. */
async function post(work, request) {
  document.documentElement.classList.add("busy"); // a line at the top moves until the answer
  try {
    const answer = await fetch(work, { method: "POST", body: JSON.stringify(request) });
    const content = await answer.json();
    if (answer.ok) return content;
    toast(content.error);
  } catch {
    toast("gradiseg view has ended; start it again.");
  } finally {
    document.documentElement.classList.remove("busy");
  }
  return null;
}

/** Add what needs the machine; a page that was opened as a file has none of it. */
export function served(app) {
  const { server, objects } = app.scene;
  if (!server) return;
  new EventSource("alive"); // the server ends when no page listens

  const search = document.getElementById("search");
  search.placeholder = "Search, or ask and press Enter";
  search.addEventListener("keydown", async (event) => {
    const none = !document.querySelector("#objects li:not([hidden])");
    if (event.key !== "Enter" || !none) return;
    const answer = await post("ask", { text: search.value });
    if (!answer) return;
    const places = answer.ids.map((id) => objects.findIndex((object) => object.id === id) + 1).filter(Boolean);
    search.value = "";
    search.dispatchEvent(new Event("input"));
    app.select(places);
    toast(places.length ? places.map((place) => titleOf(objects[place - 1])).join(", ") : `Nothing was found: ${answer.why}`);
  });

  const whatOf = (place) => {
    const keys = app.edits.now.refined.get(place);
    return keys ? { of: objects[place - 1].id, ...keys } : objects[place - 1].id;
  };
  const changed = () => editsYaml(app.edits.now, app.scene);
  const again = () => {
    app.edits.adjust((now) => Object.assign(now, nothing()));
    setTimeout(() => location.reload(), 300); // the fragment has the camera by then
  };
  const apply = button("apply", "Apply as the edit stage does, holes filled", async () => {
    if (await post("edit", { yaml: changed() })) again();
  }, "Apply");
  const save = button("save", `Save as an edit of ${server.edits_file}`, async () => {
    const answer = await post("save", { yaml: changed() });
    if (answer) toast(`Saved as ${answer.name} in ${answer.file}`);
  }, "Save");
  const reset = button("undo", "Back to the scene as it was trained", async () => {
    if (await post("reset", { all: true })) again();
  }, "Reset");
  apply.id = "apply-edits";
  save.id = "save-edits";
  reset.id = "reset-edits";
  document.getElementById("copy-edit").after(apply, save, reset);
  const refresh = () => {
    apply.hidden = !changed();
    save.hidden = !changed() && !server.edited;
    reset.hidden = !server.edited;
  };
  app.on("states", refresh);
  refresh();

  const card = document.getElementById("card");
  const addExport = () => {
    const actions = card.querySelector(".actions");
    if (!actions || actions.querySelector("#export")) return;
    const item = button("download", "Write it exactly, beside the run", async () => {
      const what = [...app.selected].map((place) => whatOf(place));
      const answer = await post("export", { what });
      if (answer) toast(`Written: ${answer.files.join(", ")}`);
    }, "Export");
    item.id = "export";
    actions.append(item);
  };
  const addRefine = () => {
    const [place, another] = app.selected;
    const made = card.querySelector("#refine");
    const now = app.edits.now.refined.get(place) ?? null;
    if (!place || another || made?.dataset.keys === JSON.stringify(now)) return;
    made?.remove(); // the state was changed by undo, or by the address
    card.append(refineControls(now, async (keys) => {
      app.edits.change(({ refined }) => (keys ? refined.set(place, keys) : refined.delete(place)));
      const answer = await post("select", { what: whatOf(place) });
      const text = card.querySelector("#refined");
      if (answer && text) {
        const all = objects[place - 1].count.toLocaleString("en");
        text.textContent = `${answer.gaussians.toLocaleString("en")} Gaussians instead of ${all}; Apply shows what is done to them.`;
      }
    }));
  };
  for (const change of ["states", "selection"]) {
    app.on(change, addExport);
    app.on(change, addRefine);
  }
}
