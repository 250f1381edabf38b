// Long lists: filtered by text, and shown page by page.

import { announce, make } from "./elements.js";
import { count } from "./text.js";

const PAGE = 60;
const LEAST = 12; // shorter lists need no filter

/** A list of items, each a text to be filtered by and a function that makes its content; with its filter. */
export function makeList(className, items) {
  const list = make("ul", { className });
  if (items.length <= LEAST) {
    list.append(...items.map(([, makeContent]) => make("li", {}, ...[makeContent()].flat())));
    return [list];
  }
  const field = make("input", { type: "search", autocomplete: "off", spellcheck: false });
  const told = make("span", { className: "hint" });
  const more = make("button", { type: "button" });
  let found = items;

  function show(from) {
    const page = found.slice(from, from + PAGE).map(([, makeContent]) => make("li", {}, ...[makeContent()].flat()));
    if (from) list.append(...page);
    else list.replaceChildren(...page);
    const n = list.children.length;
    more.hidden = n >= found.length;
    more.textContent = `Show ${count(Math.min(PAGE, found.length - n))} more`;
    told.textContent = found.length === items.length ? count(items.length) : `${count(found.length)} of ${count(items.length)}`;
    return page;
  }

  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = items.filter(([text]) => words.every((word) => text.toLowerCase().includes(word)));
    show(0);
    announce(`${told.textContent} shown`);
  });
  more.addEventListener("click", () => show(list.children.length)[0]?.querySelector("a")?.focus());
  show(0);
  const label = make("label", {}, "Filter ", field);
  return [make("p", { className: "row filter" }, label, told), list, make("p", {}, more)];
}
