// Pictures on their way. A slider asks for more than can come: what counts is the newest wish.

/** An image element that holds the picture at a path, decoded and ready to be shown. */
export async function load(path, signal) {
  const image = new Image();
  signal?.addEventListener("abort", () => image.removeAttribute("src"), { once: true });
  image.src = path;
  await image.decode();
  return image;
}

/**
 * Shows one picture after the other. While one is on its way only the newest other waits for it; one that is
 * large is given up for what was wished after it.
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

  /** Show a wish: its `path`, and whether it `isLarge`. */
  wish(wish) {
    this.#waiting = wish;
    if (this.#underWay?.wish.isLarge) this.#underWay.controller.abort();
    if (!this.#underWay) this.#work();
  }

  /** Forget all wishes. */
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
      } catch {
        if (!controller.signal.aborted) await this.#fail(wish);
      }
    }
    this.#underWay = null;
  }
}

const AHEAD = 2;
const SECONDS_APART = 0.2;

/** Show pictures one after the other, a few a second or as many as come; the next are fetched meanwhile. */
export async function play(wishes, show, signal) {
  const coming = [];
  const fetchNext = () => {
    const { value, done } = wishes.next();
    if (done) return;
    const image = load(value.path, signal);
    image.catch(() => {}); // told when it is its turn
    coming.push({ image, wish: value });
  };
  for (let i = 0; i < AHEAD; i++) fetchNext();
  while (coming.length) {
    const { image, wish } = coming.shift();
    const turn = pause(SECONDS_APART);
    fetchNext();
    const ready = await image.catch((error) => Promise.reject(Object.assign(error, { path: wish.path })));
    if (signal.aborted) return;
    show(ready, wish);
    await turn;
    if (signal.aborted) return;
  }
}

function pause(seconds) {
  return new Promise((done) => setTimeout(done, 1000 * seconds));
}
