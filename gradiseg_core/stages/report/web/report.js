"use strict";
// The sliders between truth and ours, and what they show.

const pictures = JSON.parse(document.getElementById("pictures").textContent);
const variant = document.getElementById("variant");
const layer = document.getElementById("layer");

for (const input of document.querySelectorAll(".pair input")) {
  const place = () => input.parentElement.style.setProperty("--at", `${input.value}%`);
  // A range's own thumb leaves a margin; the boundary goes where the pointer is.
  const follow = (event) => {
    if (event.type === "pointermove" && event.pointerType === "mouse" && !event.buttons) return;
    const box = input.getBoundingClientRect();
    input.value = (100 * (event.clientX - box.left)) / box.width;
    place();
  };
  input.addEventListener("input", place);
  input.addEventListener("pointerdown", follow);
  input.addEventListener("pointermove", follow);
  place();
}

function show() {
  for (const figure of document.querySelectorAll(".compare")) {
    const urls = pictures[Number(figure.dataset.view)];
    figure.querySelector(".under").src = urls.truth[layer.value];
    figure.querySelector(".over").src = urls[variant.value][layer.value];
  }
}

variant.addEventListener("change", show);
layer.addEventListener("change", show);
