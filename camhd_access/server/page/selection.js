// The crop of the image: dragged on the image or typed, always whole pixels within it.

const LEAST_DRAG = 4; // CSS pixels; shorter drags are clicks

const within = (value, least, most) => Math.min(most, Math.max(least, Math.round(value) || 0));

export class Selection {
  /** The crop, as `x`, `y`, `width` and `height`; null for the whole image. */
  crop = null;
  #size;
  #parts;
  #fields;
  #changed;
  #drag = null;

  /** For an image of this width and height; `changed` is called after each change. */
  constructor(parts, size, changed) {
    this.#parts = parts;
    this.#size = size;
    this.#changed = changed;
    this.#fields = [...parts.crop.querySelectorAll("input")];
    parts.selection.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
    for (const field of this.#fields) {
      const isAcross = field.dataset.side === "x" || field.dataset.side === "width";
      field.max = isAcross ? size.width : size.height;
      field.addEventListener("change", () => this.choose(this.#readFields()));
    }
    parts.whole.addEventListener("click", () => this.choose(null));
    parts.select.hidden = !navigator.maxTouchPoints;
    parts.select.addEventListener("click", () => this.#switchTouch());
    parts.stage.addEventListener("pointerdown", (event) => this.#begin(event));
    parts.stage.addEventListener("pointermove", (event) => this.#move(event));
    parts.stage.addEventListener("pointerup", () => this.#end());
    parts.stage.addEventListener("pointercancel", () => this.#end());
    this.draw(null);
  }

  /** Select a crop, or with null the whole image. */
  choose(crop) {
    this.draw(crop);
    this.#changed();
  }

  /** Show the part of a crop within the image. */
  draw(crop) {
    const { width, height } = this.#size;
    const x = within(crop?.x ?? 0, 0, width - 1);
    const y = within(crop?.y ?? 0, 0, height - 1);
    const part = {
      x,
      y,
      width: within(crop?.width ?? width, 1, width - x),
      height: within(crop?.height ?? height, 1, height - y),
    };
    const isWhole = part.width === width && part.height === height;
    this.crop = isWhole ? null : part;
    for (const field of this.#fields) field.value = part[field.dataset.side];
    const frame = this.#parts.selection.querySelector(".frame");
    for (const [name, value] of Object.entries(part)) frame.setAttribute(name, value);
    const hole = `M${x} ${y}h${part.width}v${part.height}h${-part.width}z`;
    const shade = this.#parts.selection.querySelector(".shade");
    shade.setAttribute("d", `M0 0h${width}v${height}h${-width}z${hole}`);
    this.#parts.selection.classList.toggle("chosen", !isWhole);
    this.#parts.whole.disabled = isWhole;
  }

  #readFields() {
    return Object.fromEntries(this.#fields.map((field) => [field.dataset.side, Number(field.value)]));
  }

  /** On a touch screen dragging scrolls, unless selecting is switched on. */
  #switchTouch() {
    const isOn = this.#parts.select.getAttribute("aria-pressed") !== "true";
    this.#parts.select.setAttribute("aria-pressed", isOn);
    this.#parts.stage.classList.toggle("selecting", isOn);
  }

  #begin(event) {
    const { classList } = this.#parts.stage;
    const isSelecting = classList.contains("selecting") || event.shiftKey;
    const isOther = event.pointerType === "touch" || classList.contains("zoomed"); // dragging scrolls or pans
    if (!event.isPrimary || event.button || (isOther && !isSelecting)) return;
    this.#parts.stage.setPointerCapture(event.pointerId);
    this.#drag = { from: event, isMoved: false };
  }

  #move(event) {
    if (!this.#drag) return;
    const { from } = this.#drag;
    const far = Math.max(Math.abs(event.clientX - from.clientX), Math.abs(event.clientY - from.clientY));
    this.#drag.isMoved ||= far >= LEAST_DRAG;
    if (!this.#drag.isMoved) return;
    const [a, b] = [this.#pixelAt(from), this.#pixelAt(event)];
    const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
    this.draw({ x, y, width: Math.abs(a.x - b.x), height: Math.abs(a.y - b.y) });
  }

  #end() {
    if (this.#drag?.isMoved) this.#changed();
    this.#drag = null;
  }

  #pixelAt({ clientX, clientY }) {
    const { left, top, width, height } = this.#parts.picture.getBoundingClientRect(); // as it is zoomed
    return {
      x: within(((clientX - left) / width) * this.#size.width, 0, this.#size.width),
      y: within(((clientY - top) / height) * this.#size.height, 0, this.#size.height),
    };
  }
}
