// Small helpers of the page: elements, icons, messages, the clipboard, downloads.

/** Return an element with properties and children. */
export function element(name, properties = {}, children = []) {
  const made = document.createElement(name);
  const { style, ...rest } = properties;
  Object.assign(made, rest);
  Object.assign(made.style, style);
  made.append(...children);
  return made;
}

/** Return one of the icons that page.html defines. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("class", "icon");
  picture.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(space, "use");
  use.setAttribute("href", `#icon-${name}`);
  picture.append(use);
  return picture;
}

/** Return a button with an icon, and a text beside it where one is given. */
export function button(name, title, act, text = "") {
  const made = element("button", { type: "button", title, className: text ? "button" : "button bare" }, [icon(name)]);
  if (text) made.append(element("span", { textContent: text }));
  else made.setAttribute("aria-label", title);
  made.addEventListener("click", act);
  return made;
}

let toastTimer;

/** Say something for a moment. */
export function toast(text) {
  const box = document.getElementById("toast");
  box.textContent = text;
  box.classList.add("on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => box.classList.remove("on"), 2200);
}

/** Put text on the clipboard, and show it: what cannot be copied can then be selected. */
export async function copyText(text, message) {
  if (!text) return toast(message);
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copied = false; // refused, or no secure page: the dialog shows the text to copy by hand
  }
  const dialog = document.getElementById("copied");
  dialog.querySelector("h2").textContent = copied ? message : "Copy this text";
  dialog.querySelector("pre").textContent = text;
  if (!dialog.open) dialog.showModal();
  if (!copied) getSelection().selectAllChildren(dialog.querySelector("pre"));
  return undefined;
}

/** Let the browser save a file. */
export function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
