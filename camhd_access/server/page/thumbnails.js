// Thumbnails over the slider: parts of one contact sheet, which is requested when a pointer is first there.

import { clock } from "./text.js";

const N = 48;
const COLUMNS = 8;
const WIDTH = 160; // pixels, an eighth of most movies or less: such a sheet is made quickly

/** Show a thumbnail of the time under the pointer over any of `elements`. */
export function addThumbnails(elements, box, { path, facts }) {
  const canvas = box.querySelector("canvas");
  const every = Math.max(0.01, Math.ceil((1000 * facts.Duration) / N) / 1000);
  let sheet = null;

  function load() {
    sheet = new Image();
    sheet.src = `${path}/sheet.jpg?every=${every}&columns=${COLUMNS}&width=${WIDTH}`;
  }

  function show({ clientX, pointerType, currentTarget }) {
    if (pointerType === "touch") return;
    if (!sheet) load();
    const { left, width } = currentTarget.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (clientX - left) / width));
    const nColumns = Math.min(COLUMNS, Math.ceil(facts.Duration / every));
    box.hidden = !(sheet.complete && sheet.naturalWidth); // its width is known before its last pixels
    if (box.hidden) return;
    const shown = sheet.naturalWidth / nColumns;
    const nRows = Math.ceil(Math.ceil(facts.Duration / every) / nColumns);
    const height = sheet.naturalHeight / nRows;
    const i = Math.min(Math.floor((share * facts.Duration) / every), Math.ceil(facts.Duration / every) - 1);
    [canvas.width, canvas.height] = [shown, height];
    const [x, y] = [(i % nColumns) * shown, Math.floor(i / nColumns) * height];
    canvas.getContext("2d").drawImage(sheet, x, y, shown, height, 0, 0, shown, height);
    box.querySelector("span").textContent = clock(share * facts.Duration).slice(0, -4);
    const around = box.offsetParent.getBoundingClientRect();
    const middle = Math.min(around.width - shown / 2, Math.max(shown / 2, clientX - around.left));
    box.style.left = `${middle}px`;
  }

  for (const element of elements) {
    element.addEventListener("pointermove", show);
    element.addEventListener("pointerleave", () => (box.hidden = true));
  }
}
