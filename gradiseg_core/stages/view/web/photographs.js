// The strip of photographs, and the one that fades over the scene.

import { element } from "./ui.js";

/** Fill the strip, and lay the chosen photograph over the picture. */
export function photographs(app) {
  const strip = document.getElementById("strip");
  const overlay = document.getElementById("overlay");
  const fade = document.getElementById("fade");
  const name = document.getElementById("fade-name");
  const bar = document.getElementById("fade-bar");
  const items = app.scene.cameras.map((camera, number) => {
    const item = element("button", { type: "button", title: camera.name }, [
      element("img", { src: camera.picture, alt: camera.name, loading: "lazy", draggable: false }),
    ]);
    if (camera.split === "test") item.append(element("small", { textContent: "test" }));
    item.addEventListener("click", () => app.jump(number));
    strip.append(item);
    return item;
  });
  fade.addEventListener("input", place);
  document.getElementById("fade-off").addEventListener("click", () => app.leavePhotograph());

  /** Lay the photograph where the camera's frame is. */
  function place() {
    const there = app.photograph !== null;
    bar.hidden = overlay.hidden = !there;
    if (!there) return;
    const { left, top, width, height } = app.windowShot().frame;
    Object.assign(overlay.style, {
      left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px`, opacity: fade.value / 100,
    });
  }
  app.on("photograph", () => {
    items.forEach((item, number) => item.setAttribute("aria-current", number === app.photograph));
    if (app.photograph !== null) {
      const camera = app.scene.cameras[app.photograph];
      overlay.src = camera.picture;
      name.textContent = camera.name;
      items[app.photograph].scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    place();
  });
  app.on("size", place);
}
