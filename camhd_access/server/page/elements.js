// Creating elements. Names from a mirror are only used as text, never as markup.

/** An element with these properties and children; a property with a dash is an attribute. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** A copy of a template of the page, and its parts by their `data-part`. */
export function copyTemplate(id) {
  const copy = document.getElementById(id).content.cloneNode(true);
  const parts = {};
  for (const part of copy.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
  return { copy, parts };
}

/** Whether a button that switches something on is pressed. */
export function isPressed(button) {
  return button.getAttribute("aria-pressed") === "true";
}

/** Switch a button on or off. */
export function press(button) {
  button.setAttribute("aria-pressed", !isPressed(button));
}

/** Announce a text to screen readers. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}
