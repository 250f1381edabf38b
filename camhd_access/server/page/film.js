// The film of a movie: its HLS segments, fetched ahead and appended to a video element (W3C, Media Source
// Extensions). Where they arrive too slowly, every n-th frame is requested: all steps have the same segments.
// A film shows the sought frame at once, and moves as soon as the next segment is there or comes in time.

import { ask } from "./api.js";

const AT_ONCE = 2; // requests: one is encoded while another is fetched
const AHEAD = 6; // seconds of playing
const LOW = 3; // with less ahead, frames are left out; with more, they come back
const ENOUGH = 0.8; // with so much ahead it begins to move: the next segment takes less
const BEHIND = 20;
const MARGIN = 1.2; // how much faster than played segments must arrive
const PATIENCE = 2; // seconds for the first segment, before frames are left out
const FADING = 0.7; // of what was measured before each segment
const STEPS = [1, 2, 3, 5, 6, 10, 15, 30];
const TYPE = 'video/mp4; codecs="avc1.64001f"';

/** Frames a second that are worth decoding. */
export const MAX_SHOWN = 61;

const Source = window.ManagedMediaSource ?? window.MediaSource;

/** Whether this browser plays such films. */
export function canPlayFilms() {
  return Boolean(Source?.isTypeSupported(TYPE));
}

export class Film {
  /** Every how many frames are requested. */
  step = 1;
  #video;
  #folder;
  #query;
  #frameRate;
  #events;
  #opening = null;
  #segments = []; // name, start and end of each, in seconds
  #buffer;
  #source;
  #work = Promise.resolve();
  #filling = new AbortController();
  #arrived = { seconds: 0, elapsed: 0 }; // of film, as if with this step, and the time for it; older ones count less

  /** With a query of the playlist. `events`: `changed` is called after a change of the step, `failed` with an error. */
  constructor(video, path, query, frameRate, events) {
    this.#video = video;
    this.#query = query;
    this.#folder = `${path}/hls/`;
    this.#frameRate = frameRate;
    this.#events = events;
  }

  /** Go to a time, fetch what follows, and play. */
  async seek(seconds) {
    this.rest();
    const controller = (this.#filling = new AbortController());
    try {
      await (this.#opening ??= this.#open());
      if (controller.signal.aborted) return;
      this.#video.currentTime = seconds;
      await this.#fill(seconds, controller.signal);
    } catch (error) {
      if (!controller.signal.aborted) this.#events.failed(error);
    }
  }

  /** Stop playing and fetching. */
  rest() {
    this.#video.pause();
    this.#filling.abort();
  }

  close() {
    this.rest();
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  async #open() {
    const playlist = await (await ask(`${this.#folder}index.m3u8${this.#query}`)).text();
    const init = /#EXT-X-MAP:URI="([^"]+)"/.exec(playlist)[1];
    let end = 0;
    for (const [, seconds, name] of playlist.matchAll(/#EXTINF:([\d.]+),\n(\S+)/g)) {
      this.#segments.push({ name, start: end, end: (end += Number(seconds)) });
    }
    const head = await (await ask(this.#folder + init)).arrayBuffer();
    this.#source = new Source();
    this.#video.disableRemotePlayback = true; // Safari's condition
    this.#video.src = URL.createObjectURL(this.#source);
    await new Promise((done) => this.#source.addEventListener("sourceopen", done, { once: true }));
    URL.revokeObjectURL(this.#video.src);
    this.#source.duration = end;
    this.#buffer = this.#source.addSourceBuffer(`video/mp4; codecs="${codecOf(head)}"`);
    await this.#change(() => this.#buffer.appendBuffer(head));
  }

  async #fill(seconds, signal) {
    const coming = [];
    let next = this.#segments.findIndex(({ end }) => end > seconds);
    let since = performance.now();
    let count = 0;
    let isMoving = false;
    while (!signal.aborted) {
      const { currentTime, playbackRate } = this.#video;
      const atOnce = isMoving && this.#secondsAhead < LOW * playbackRate ? AT_ONCE : 1; // one comes sooner alone
      while (coming.length < atOnce && this.#segments[next]?.start < currentTime + AHEAD * playbackRate) {
        const { name, start, end } = this.#segments[next++];
        const segment = { name, start: Math.max(start, seconds), end, isRest: start < seconds };
        if (!this.#has(segment)) coming.push(this.#fetch(segment, signal));
      }
      if (!isMoving && (count > 1 || !coming.length || this.#secondsAhead > ENOUGH * playbackRate)) {
        isMoving = true;
        this.#video.play().catch(() => {}); // paused meanwhile
      }
      if (!coming.length) {
        if (next < 0 || next >= this.#segments.length) return this.#end();
        await pause(0.1);
        since = performance.now();
        continue;
      }
      const { body, segment, step } = await coming.shift();
      if (signal.aborted) return;
      const elapsed = (performance.now() - since) / 1000;
      since = performance.now();
      const length = segment.end - segment.start;
      if (count++ || elapsed > PATIENCE) this.#measure((length * this.step) / step, elapsed);
      await this.#change(() => this.#buffer.appendBuffer(body));
      await this.#drop();
    }
  }

  /** A segment, or the rest of one, which takes less time. */
  #fetch(segment, signal) {
    const { step } = this;
    const name = segment.name.replace(/\bstep=\d+/, `step=${step}`);
    const since = segment.isRest ? `&since=${segment.start.toFixed(6)}` : "";
    const path = this.#folder + name + since;
    const coming = ask(path, { signal })
      .then((response) => response.arrayBuffer())
      .then((body) => ({ body, segment, step }));
    coming.catch(() => {}); // reported when it is its turn
    return coming;
  }

  /** Count a segment, and choose a step: all frames, unless they come too slowly, or are too many to be shown. */
  #measure(seconds, elapsed) {
    this.#arrived = {
      seconds: FADING * this.#arrived.seconds + seconds,
      elapsed: FADING * this.#arrived.elapsed + elapsed,
    };
    const rate = this.#video.playbackRate;
    const least = (rate * this.#frameRate) / MAX_SHOWN;
    const speedOf = (step) => (this.#arrived.seconds / this.#arrived.elapsed) * (step / this.step);
    const isLow = this.#secondsAhead < LOW * rate;
    const margin = (isLow ? MARGIN : MARGIN ** 2) * rate;
    const wanted = STEPS.find((step) => step >= least && speedOf(step) >= margin) ?? STEPS.at(-1);
    const isTooMany = this.step < least;
    const isInTime = isLow ? speedOf(this.step) >= margin && speedOf(wanted) < 2 * margin : wanted > this.step;
    if (wanted === this.step || (isInTime && !isTooMany)) return;
    this.#arrived.seconds *= wanted / this.step;
    this.step = wanted;
    this.#events.changed();
  }

  get #secondsAhead() {
    const now = this.#video.currentTime;
    const ranges = this.#buffer.buffered;
    for (let i = 0; i < ranges.length; i++) {
      if (ranges.start(i) <= now + 0.1 && ranges.end(i) > now) return ranges.end(i) - now;
    }
    return 0;
  }

  #has({ start, end }) {
    const ranges = this.#buffer.buffered;
    for (let i = 0; i < ranges.length; i++) {
      if (ranges.start(i) <= start + 0.01 && ranges.end(i) >= end - 0.01) return true;
    }
    return false;
  }

  /** Forget what was played a while ago. */
  async #drop() {
    const until = this.#video.currentTime - BEHIND;
    const { buffered } = this.#buffer;
    if (buffered.length && buffered.start(0) < until - BEHIND) {
      await this.#change(() => this.#buffer.remove(0, until));
    }
  }

  #end() {
    return this.#change(() => {
      if (this.#source.readyState === "open") this.#source.endOfStream();
    });
  }

  /** Change the buffer, after the changes under way; resolves when it is done. */
  #change(work) {
    this.#work = this.#work
      .catch(() => {}) // reported by whoever began it
      .then(
        () =>
          new Promise((done, fail) => {
            const buffer = this.#buffer;
            work();
            if (!buffer.updating) return done();
            buffer.addEventListener("updateend", done, { once: true });
            buffer.addEventListener("error", () => fail(new Error("the film cannot be decoded")), { once: true });
          }),
      );
    return this.#work;
  }
}

/** The codec in an initialization segment, as in RFC 6381: from profile to level in its `avcC`. */
function codecOf(init) {
  const bytes = new Uint8Array(init);
  const name = [..."avcC"].map((letter) => letter.charCodeAt(0));
  const place = bytes.findIndex((_, i) => name.every((code, j) => bytes[i + j] === code)) + 5;
  const levels = [...bytes.subarray(place, place + 3)];
  return `avc1.${levels.map((each) => each.toString(16).padStart(2, "0")).join("")}`;
}

function pause(seconds) {
  return new Promise((done) => setTimeout(done, 1000 * seconds));
}
