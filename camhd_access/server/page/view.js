// How the image is looked at: zoom and pan, to the pixel, and brightness. The image itself stays as it is.

const MAX_SCALE = 32;
const STEP = Math.SQRT2;
const PIXELATED = 2; // CSS pixels per pixel of the movie, from which pixels are shown as squares

const within = (value, least, most) => Math.min(most, Math.max(least, value));

export class View {
  #parts;
  #width;
  #scale = 1;
  #x = 0; // of the image's corner, in CSS pixels, at most 0
  #y = 0;
  #drag = null;

  /** For a movie of this width in pixels. */
  constructor(parts, width) {
    this.#parts = parts;
    this.#width = width;
    const { stage, zoom, brightness } = parts;
    for (const button of zoom.querySelectorAll("button[data-zoom]")) {
      button.addEventListener("click", () => this.change(button.dataset.zoom));
    }
    brightness.addEventListener("input", () => {
      stage.style.setProperty("--brightness", 2 ** Number(brightness.value));
    });
    stage.addEventListener("wheel", (event) => this.#turn(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.#begin(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (this.#drag = null));
    this.#draw();
  }

  /** Zoom "in" or "out" around the middle, or show the whole image: "fit". */
  change(how) {
    const { clientWidth, clientHeight } = this.#parts.stage;
    const scale = { in: this.#scale * STEP, out: this.#scale / STEP, fit: 1 }[how];
    this.#zoom(scale, clientWidth / 2, clientHeight / 2);
  }

  /** Zoom so that what is at a place of the stage stays there. */
  #zoom(scale, atX, atY) {
    const next = within(Math.abs(scale - 1) < 0.01 ? 1 : scale, 1, MAX_SCALE);
    this.#x = atX - ((atX - this.#x) * next) / this.#scale;
    this.#y = atY - ((atY - this.#y) * next) / this.#scale;
    this.#scale = next;
    this.#draw();
  }

  /** With Ctrl, as pinching on a touchpad: zoom. Else pan, if there is something to pan. */
  #turn(event) {
    if (!event.ctrlKey && this.#scale === 1) return;
    event.preventDefault();
    const { left, top } = this.#parts.stage.getBoundingClientRect();
    if (event.ctrlKey) {
      this.#zoom(this.#scale * 2 ** (-event.deltaY / 200), event.clientX - left, event.clientY - top);
    } else this.#pan(-event.deltaX, -event.deltaY);
  }

  #begin(event) {
    const { classList } = this.#parts.stage;
    if (!classList.contains("zoomed") || classList.contains("selecting")) return;
    if (event.shiftKey || event.button || !event.isPrimary) return;
    this.#parts.stage.setPointerCapture(event.pointerId);
    this.#drag = event;
  }

  #move(event) {
    if (!this.#drag) return;
    this.#pan(event.clientX - this.#drag.clientX, event.clientY - this.#drag.clientY);
    this.#drag = event;
  }

  #pan(x, y) {
    this.#x += x;
    this.#y += y;
    this.#draw();
  }

  #draw() {
    const { stage, zoom, scale } = this.#parts;
    const { clientWidth, clientHeight } = stage;
    this.#x = within(this.#x, clientWidth * (1 - this.#scale), 0);
    this.#y = within(this.#y, clientHeight * (1 - this.#scale), 0);
    stage.style.setProperty("--view", `translate(${this.#x}px, ${this.#y}px) scale(${this.#scale})`);
    stage.style.setProperty("--scale", this.#scale);
    stage.classList.toggle("zoomed", this.#scale > 1);
    stage.classList.toggle("pixelated", this.#scale > 1 && (this.#scale * clientWidth) / this.#width >= PIXELATED);
    scale.textContent = `${this.#scale.toFixed(1)}×`;
    zoom.querySelector("[data-zoom=out]").disabled = zoom.querySelector("[data-zoom=fit]").disabled = this.#scale === 1;
    zoom.querySelector("[data-zoom=in]").disabled = this.#scale === MAX_SCALE;
  }
}
