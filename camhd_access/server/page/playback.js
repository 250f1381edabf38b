// Playing a movie: forwards as a film; backwards, and in browsers that cannot play it, picture by picture.

import { isPressed, press } from "./elements.js";
import { canPlayFilms, Film, MAX_SHOWN } from "./film.js";
import { play, SECONDS_APART } from "./pictures.js";
import { ordinal } from "./text.js";

const PICTURE_WIDTH = 640;
const MAX_SPEED = 16;
const TOO_SLOW = ": the connection or the server is too slow for all of them";

export class Playback {
  /** How fast, compared with the movie; negative: backwards; 0: not playing. */
  speed = 0;
  #movie;
  #parts;
  #events;
  #number = 1;
  #scan = "";
  #film; // null: the server or the browser turned out to have none
  #pictures = new AbortController();

  /**
   * `events`: `moved` is called with the number of the frame that is shown (and its image, unless it is in
   * the film), `changed` when playing begins or ends, `ended` at the end, `failed` with an error.
   */
  constructor(movie, parts, events) {
    this.#movie = movie;
    this.#parts = parts;
    this.#events = events;
    const { video, loop } = parts;
    this.setScan("");
    video.addEventListener("ended", () => this.#end());
    for (const event of ["seeking", "waiting"]) {
      video.addEventListener(event, () => (parts.busy.hidden = this.speed <= 0));
    }
    video.addEventListener("playing", () => (parts.busy.hidden = true));
    video.addEventListener("error", () => this.#doWithoutFilm());
    loop.addEventListener("click", () => press(loop));
    this.#watch();
  }

  /** How frames are decoded: a part of the query of films and pictures, or "". */
  setScan(scan) {
    this.#scan = scan;
    if (!canPlayFilms() || this.#film === null) return;
    this.#film?.close();
    this.#film = new Film(this.#parts.video, this.#movie.path, scan && `?${scan}`, this.#frameRate, {
      changed: () => this.#tell(),
      failed: (error) => (error.status === 501 ? this.#doWithoutFilm() : this.#fail(error)),
    });
    if (this.isFilm) this.#playFilm(false);
  }

  /** Whether frames are shown by the video element. */
  get isFilm() {
    return this.speed > 0 && Boolean(this.#film);
  }

  /** Play from a frame on, at a speed; negative: backwards. */
  start(number, speed) {
    const wasFilm = this.isFilm;
    this.#pictures.abort();
    const { NumFrames } = this.#movie.facts;
    if (speed > 0 && number >= NumFrames) number = 1;
    if (speed < 0 && number <= 1) number = NumFrames;
    const isThere = wasFilm && number === this.#number;
    this.#number = number;
    this.speed = Math.sign(speed) * Math.min(MAX_SPEED, Math.abs(speed));
    if (this.isFilm) this.#playFilm(isThere);
    else this.#playPictures();
    this.#tell();
    this.#events.changed();
  }

  stop() {
    if (!this.speed) return;
    this.speed = 0;
    this.#pictures.abort();
    this.#film?.rest();
    this.#tell();
    this.#events.changed();
  }

  close() {
    this.stop();
    this.#film?.close();
  }

  /** Frames a second; those of the movie, or a guess. */
  get #frameRate() {
    return this.#movie.facts.FrameRate ?? 30;
  }

  #playFilm(isThere) {
    this.#parts.video.playbackRate = this.speed;
    if (!isThere) this.#film.seek((this.#number - 0.5) / this.#frameRate); // the middle of the frame
  }

  /** Follow the film: each frame as it is shown, or where browsers do not tell, several times a second. */
  #watch() {
    const { video } = this.#parts;
    const follow = (seconds) => {
      if (!this.isFilm) return;
      this.#parts.stage.classList.add("playing");
      this.#number = Math.min(this.#movie.facts.NumFrames, Math.floor(seconds * this.#frameRate) + 1);
      this.#events.moved(this.#number);
    };
    if (!video.requestVideoFrameCallback) {
      video.addEventListener("timeupdate", () => !video.seeking && follow(video.currentTime));
      return;
    }
    const next = (_, { mediaTime }) => {
      follow(mediaTime + 0.25 / this.#frameRate); // it is the start of the frame, rounded
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }

  async #playPictures() {
    const controller = (this.#pictures = new AbortController());
    this.#film?.rest();
    let step = 0;
    const show = (image, wish) => {
      if (step !== Math.abs(wish.number - this.#number)) {
        step = Math.abs(wish.number - this.#number);
        this.#tell(step);
      }
      this.#number = wish.number;
      this.#events.moved(wish.number, image);
    };
    try {
      await play(this.#wishes(), show, controller.signal);
      if (!controller.signal.aborted) this.#end();
    } catch (error) {
      if (!controller.signal.aborted) this.#fail(error);
    }
  }

  /** The pictures of frames that are due when they can be shown. */
  *#wishes() {
    const { facts, path } = this.#movie;
    const width = facts.Width > PICTURE_WIDTH ? `width=${PICTURE_WIDTH}` : "";
    const query = [width, this.#scan].filter(Boolean).join("&");
    const begin = performance.now();
    const first = this.#number;
    let number = first;
    for (let i = 1; ; i++) {
      const seconds = Math.max(i * SECONDS_APART, (performance.now() - begin) / 1000);
      const due = first + Math.round(seconds * this.#frameRate * this.speed);
      number = this.speed > 0 ? Math.max(due, number + 1) : Math.min(due, number - 1);
      if (number < 1 || number > facts.NumFrames) return;
      yield { path: `${path}/frame/${number}.jpg${query && `?${query}`}`, number };
    }
  }

  /** The server cannot encode films, or this browser cannot play them after all. */
  #doWithoutFilm() {
    const { speed } = this;
    this.#film?.rest();
    this.#film = null;
    if (speed > 0) this.start(this.#number, speed);
  }

  #end() {
    const isForward = this.speed > 0;
    if (!this.speed) return;
    const { NumFrames } = this.#movie.facts;
    if (isPressed(this.#parts.loop)) {
      this.start(isForward ? 1 : NumFrames, this.speed);
      return;
    }
    this.stop();
    this.#events.ended(isForward ? NumFrames : 1);
  }

  #fail(error) {
    this.stop();
    this.#events.failed(error);
  }

  /** Say how fast it plays, if not as recorded, and which frames are shown, if not all. */
  #tell(step = this.isFilm ? this.#film.step : 1) {
    const speed = Math.abs(this.speed);
    const isTooMuch = this.isFilm && speed * this.#frameRate < MAX_SHOWN;
    const texts = [
      ...(this.speed < 0 ? ["Backwards."] : []),
      ...(speed !== 1 ? [`Speed: ${speed} times.`] : []),
      ...(step > 1 ? [`Every ${ordinal(step)} frame is shown${isTooMuch ? TOO_SLOW : ""}.`] : []),
    ];
    this.#parts.note.textContent = this.speed ? texts.join(" ") : "";
  }
}
