// What a browser shows that cannot draw the scene: why, and pictures made beforehand.

/** Replace the page by a message. */
export function showFallback(problem, advice) {
  const app = document.getElementById("app");
  const box = document.createElement("main");
  box.id = "fallback";
  const heading = document.createElement("h1");
  heading.textContent = "This scene cannot be shown here";
  const why = document.createElement("p");
  why.textContent = problem;
  const what = document.createElement("p");
  what.textContent = advice;
  box.append(heading, why, what);
  let pictures = [];
  try {
    pictures = JSON.parse(document.getElementById("fallback-pictures").textContent);
  } catch {
    what.textContent += " The pictures in the file cannot be read either.";
  }
  for (const source of pictures.filter((text) => String(text).startsWith("data:image/"))) {
    const picture = document.createElement("img");
    picture.src = source;
    picture.alt = "A photograph of the scene, its rendering and its objects";
    box.append(picture);
  }
  app.replaceChildren(box);
  document.documentElement.dataset.state = "failed";
}
