// Loading images. A slider requests more images than can load: only the newest request counts.

import { ask } from "./api.js";

const AHEAD = 2;

/** Seconds between images that are played. */
export const SECONDS_APART = 0.2;

/**
 * An image element with the image at a path, decoded and ready to be shown. An element does not report
 * why loading failed, so the image is requested again: that throws the `Problem`, or returns the image.
 */
export async function load(path, signal) {
  try {
    return await loadOnce(path, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    await (await ask(path, { signal })).blob();
    return loadOnce(path, signal);
  }
}

function loadOnce(path, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const image = new Image();
    const giveUp = () => {
      image.removeAttribute("src");
      reject(signal.reason);
    };
    const done = () => signal.removeEventListener("abort", giveUp);
    signal.addEventListener("abort", giveUp);
    image.src = path;
    image.decode().then(() => resolve(image), reject).finally(done);
  });
}

/**
 * Shows one image after the other. While a small one is loading, only the newest other request waits.
 * A large one is aborted for any later request, and any other is aborted for a large one.
 */
export class Screen {
  #show;
  #fail;
  #waiting = null;
  #underWay = null;

  constructor(show, fail) {
    this.#show = show;
    this.#fail = fail;
  }

  /** Request an image: its `path`, and whether it `isLarge`. */
  wish(wish) {
    this.#waiting = wish;
    if (wish.isLarge || this.#underWay?.wish.isLarge) this.#underWay?.controller.abort();
    if (!this.#underWay) this.#work();
  }

  /** Drop all requests. */
  clear() {
    this.#waiting = null;
    this.#underWay?.controller.abort();
  }

  async #work() {
    while (this.#waiting) {
      const wish = this.#waiting;
      const controller = new AbortController();
      this.#waiting = null;
      this.#underWay = { wish, controller };
      try {
        const image = await load(wish.path, controller.signal);
        if (!controller.signal.aborted) this.#show(image, wish);
      } catch (error) {
        if (!controller.signal.aborted) this.#fail(error);
      }
    }
    this.#underWay = null;
  }
}

/** Show images one after the other, a few per second or as fast as they load; the next are prefetched. */
export async function play(wishes, show, signal) {
  const coming = [];
  const fetchNext = () => {
    const { value, done } = wishes.next();
    if (done) return;
    const image = load(value.path, signal);
    image.catch(() => {}); // reported when it is its turn
    coming.push({ image, wish: value });
  };
  for (let i = 0; i < AHEAD; i++) fetchNext();
  while (coming.length) {
    const { image, wish } = coming.shift();
    const turn = pause(SECONDS_APART);
    fetchNext();
    const ready = await image;
    if (signal.aborted) return;
    show(ready, wish);
    await turn;
    if (signal.aborted) return;
  }
}

function pause(seconds) {
  return new Promise((done) => setTimeout(done, 1000 * seconds));
}
