// A movie: one frame at a time, with its properties, downloads and code.

import { drawActivity } from "./activity.js";
import { askJson, Problem } from "./api.js";
import { announce, copyTemplate, isPressed, make, press } from "./elements.js";
import { Screen } from "./pictures.js";
import { Playback } from "./playback.js";
import { factsPath, frameLink, groupMovies, movieLink, pathOf, suffixOf } from "./router.js";
import { Selection } from "./selection.js";
import { addressOf, makeDownloads, pointDownloads, writeCurl, writePython } from "./snippets.js";
import { drawStretched } from "./stretch.js";
import { bytes, clock, codecName, count, duration, heading, moment, parseMoment } from "./text.js";
import { addThumbnails } from "./thumbnails.js";
import { View } from "./view.js";

const REST_SECONDS = 0.25;
const LETTERS = { j: -1, k: 0, l: 1, f: 0 };
const ZOOMS = { "+": "in", "=": "in", "-": "out", 0: "fit" };
const STRIDES = { ArrowLeft: -1, ArrowRight: 1, PageUp: 300, PageDown: -300, Home: -Infinity, End: Infinity, ",": -1, ".": 1 };

/** The page of a movie, showing one of its frames. */
export async function openMovie({ names, mirror, number, crop }, signal) {
  const path = pathOf(names);
  const facts = await askJson(factsPath(path), signal);
  number ??= facts.LitFrame ?? 1;
  if (number < 1 || number > facts.NumFrames) {
    const text = `This movie has ${count(facts.NumFrames)} frames; there is no frame ${count(number)}.`;
    throw new Problem(0, "", text);
  }
  return new MoviePage({ names, mirror, path, facts }, number, crop);
}

class MoviePage {
  #movie;
  #parts;
  #more;
  #number;
  #screen;
  #selection;
  #rest = 0;
  #playback;
  #view;
  #stretching = new AbortController();
  #closing = new AbortController();

  constructor(movie, number, crop) {
    const { copy, parts } = copyTemplate("movie-page");
    this.content = [...copy.children];
    this.#movie = movie;
    this.#parts = parts;
    this.#number = number;
    this.#screen = new Screen(
      (image, wish) => this.#show(image, wish),
      (problem) => this.#fail(problem),
    );
    const { Width: width, Height: height } = movie.facts;
    this.#selection = new Selection(parts, { width, height }, () => this.#tellAll());
    this.#selection.draw(crop);
    this.#view = new View(parts, width);
    this.#describe();
    this.#playback = new Playback(movie, parts, {
      moved: (frame, image) => this.#follow(frame, image),
      changed: () => (parts.play.textContent = this.#playback.speed ? "Pause" : "Play"),
      ended: (frame) => this.#seek(frame),
      failed: (error) => this.#fail(error),
    });
    parts.downloads.append(...makeDownloads(movie, (problem) => this.#fail(problem)));
    this.#listen();
  }

  /** Whether this is the movie with these path parts. */
  isAt(names) {
    return pathOf(names) === this.#movie.path;
  }

  /** Start listening to keys and fetching images: the page is visible now. */
  begin() {
    document.addEventListener("keydown", (event) => this.#press(event), { signal: this.#closing.signal });
    this.#settle();
    this.#addActivity();
    this.#addNeighbours();
  }

  /** Go to the frame and crop in the fragment. */
  visit({ number, crop }) {
    this.#selection.draw(crop);
    this.#seek(number ?? this.#movie.facts.LitFrame ?? 1);
  }

  /** Stop all activity. */
  close() {
    this.#closing.abort();
    this.#playback.close();
    this.#stretching.abort();
    clearTimeout(this.#rest);
    this.#screen.clear();
  }

  /** Whether each frame is coded on its own: only then fields are read, and luma with 10 bits. */
  get #isProRes() {
    return codecName(this.#movie.facts.Codec) === "ProRes";
  }

  get #milliseconds() {
    const { StartTime, Duration, NumFrames } = this.#movie.facts;
    const elapsed = (1000 * Duration * (this.#number - 1)) / NumFrames;
    return { elapsed, moment: StartTime && Date.parse(StartTime) + elapsed };
  }

  #describe() {
    const { facts, names } = this.#movie;
    const { heading: title, name, stage, scrubber, number, total, facts: list } = this.#parts;
    title.textContent = facts.StartTime ? heading(Date.parse(facts.StartTime)) : names.at(-1);
    name.textContent = names.at(-1);
    stage.style.aspectRatio = `${facts.Width} / ${facts.Height}`;
    stage.style.setProperty("--ratio", facts.Width / facts.Height);
    scrubber.max = number.max = facts.NumFrames;
    this.#parts.moment.parentElement.hidden = !facts.StartTime;
    total.textContent = `of ${count(facts.NumFrames)}`;
    const kind = { true: ", interlaced", false: ", progressive" }[facts.Interlaced] ?? "";
    const rows = {
      Length: `${duration(facts.Duration)}, ${facts.FrameRate?.toFixed(3) ?? "?"} frames/s`,
      Image: `${facts.Width} × ${facts.Height}${kind}`,
      Codec: `${codecName(facts.Codec)} (${facts.Codec})`,
      File: bytes(facts.FileSize),
    };
    for (const [term, text] of Object.entries(rows)) list.append(make("dt", {}, term), make("dd", {}, text));
    const link = make("a", { href: factsPath(this.#movie.path) }, "JSON");
    const sheet = make("a", { href: `${this.#movie.path}/sheet.jpg` }, "contact sheet");
    const file = make("a", { href: addressOf(this.#movie) }, "whole file");
    this.#more = make("dd", {}, link, " · ", sheet, " · ", file);
    list.append(make("dt", {}, "More"), this.#more);
  }

  #listen() {
    const parts = this.#parts;
    const { scrubber } = parts;
    scrubber.addEventListener("input", () => this.#seek(Number(scrubber.value), { isMoving: true }));
    scrubber.addEventListener("change", () => this.#jump(Number(scrubber.value)));
    parts.number.addEventListener("change", () => this.#seek(Number(parts.number.value) || this.#number));
    parts.play.addEventListener("click", () => this.#playOrPause());
    parts.speed.addEventListener("change", () => {
      if (this.#playback.speed) this.#play(Number(parts.speed.value));
    });
    parts.full.addEventListener("click", () => this.#switchFullScreen());
    parts.activity.addEventListener("click", (event) => {
      const { left, width } = parts.activity.getBoundingClientRect();
      this.#jump(1 + Math.floor(((event.clientX - left) / width) * this.#movie.facts.NumFrames));
    });
    parts.moment.addEventListener("change", () => this.#seekMoment(parts.moment.value));
    parts.stretch.addEventListener("click", () => {
      press(parts.stretch);
      this.#stretch();
    });
    parts.scan.hidden = !this.#movie.facts.Interlaced || !this.#isProRes;
    parts.scan.addEventListener("change", () => {
      this.#playback.setScan(parts.scan.value && "deinterlace=linear"); // films have no single fields
      if (!this.#playback.speed) this.#settle();
    });
    addThumbnails([scrubber, parts.activity], parts.thumbnail, this.#movie);
    for (const button of parts.viewer.querySelectorAll("[data-step]")) {
      const { step } = button.dataset;
      const stride = { first: -Infinity, last: Infinity }[step] ?? Number(step);
      button.addEventListener("click", () => this.#seek(this.#number + stride));
    }
    for (const element of this.content) {
      for (const button of element.querySelectorAll("[data-copy]")) {
        button.addEventListener("click", copyText);
      }
    }
  }

  /** Keys of the image and the slider; those that have no other function elsewhere work everywhere. */
  #press(event) {
    const { target, key } = event;
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (target.matches("input:not([type=range]), select, textarea")) return;
    const isInside = this.#parts.viewer.contains(target);
    const letter = key.toLowerCase();
    if (key === " " && !target.matches("a, button, summary")) this.#playOrPause();
    else if (key in ZOOMS) this.#view.change(ZOOMS[key]);
    else if (letter in LETTERS) this.#pressLetter(letter);
    else if (key === "Escape" && isInside) this.#selection.choose(null);
    else if (key in STRIDES && (isInside || key.startsWith("Arrow") || key.length === 1)) {
      const stride = STRIDES[key] * (event.shiftKey && key.startsWith("Arrow") ? 30 : 1);
      this.#seek(this.#number + stride, { isMoving: event.repeat });
    } else return;
    event.preventDefault();
  }

  /** As in editors: L plays, J backwards, faster each time; K pauses. F is full screen. */
  #pressLetter(letter) {
    const { speed } = this.#playback;
    if (letter === "f") this.#switchFullScreen();
    else if (letter === "k") this.#pause();
    else {
      const way = LETTERS[letter];
      this.#play(Math.sign(speed) === way ? 2 * speed : way);
    }
  }

  /** Go to a frame. While `isMoving`, previews are shown; after that, the full image. */
  #seek(number, { isMoving = false } = {}) {
    this.#playback.stop();
    this.#parts.stretched.hidden = true;
    this.#number = Math.min(this.#movie.facts.NumFrames, Math.max(1, Math.round(number)));
    clearTimeout(this.#rest);
    if (!isMoving) return this.#settle();
    this.#tell();
    this.#screen.wish({ path: this.#pictureOf(this.#number, "?reduce=8"), number: this.#number });
    this.#rest = setTimeout(() => this.#settle(), 1000 * REST_SECONDS);
  }

  #settle() {
    this.#tellAll();
    this.#parts.busy.hidden = false;
    const number = this.#number;
    this.#screen.wish({ path: this.#pictureOf(number, "?quality=90"), number, isLarge: true });
    this.#stretch();
    announce(this.#parts.scrubber.getAttribute("aria-valuetext"));
  }

  /** Go to the frame at a time. */
  #seekMoment(text) {
    const { StartTime, Duration, NumFrames } = this.#movie.facts;
    const start = Date.parse(StartTime);
    const seconds = (parseMoment(text, start) - start) / 1000;
    const isThere = seconds >= 0 && seconds <= Duration;
    this.#parts.note.textContent = "";
    if (isThere) return this.#seek(1 + (seconds * NumFrames) / Duration);
    const ends = [start, start + 1000 * Duration].map((each) => moment(Math.round(each)).slice(11, 19));
    this.#parts.note.textContent = Number.isNaN(seconds)
      ? "A time is written as 00:04:00 or 2016-11-13 00:04:00."
      : `This movie is from ${ends.join(" to ")} UTC.`;
  }

  /** Show the luma of the frame stretched, if that is switched on, or else the image. */
  async #stretch() {
    const { stretch, stretched, codes, scan } = this.#parts;
    this.#stretching.abort();
    stretched.hidden = true;
    codes.textContent = "";
    if (!isPressed(stretch) || this.#playback.speed) return;
    const { signal } = (this.#stretching = new AbortController());
    try {
      const { black, white, most } = await drawStretched(
        stretched,
        this.#movie.path,
        this.#number,
        this.#isProRes ? "gray10le" : "gray16le",
        scan.value,
        signal,
      );
      if (signal.aborted) return;
      stretched.hidden = false;
      codes.textContent = `Luma: black is ${black}, white is ${white} of ${most}.`;
      announce(codes.textContent);
    } catch (problem) {
      if (!signal.aborted) this.#fail(problem);
    }
  }

  /** Go to a frame, and continue to play there if it plays. */
  #jump(number) {
    if (!this.#playback.speed) return this.#seek(number);
    this.#number = number;
    this.#play(this.#playback.speed);
  }

  #play(speed) {
    clearTimeout(this.#rest);
    this.#screen.clear();
    this.#parts.problem.hidden = this.#parts.stretched.hidden = true;
    this.#playback.start(this.#number, speed);
  }

  #pause() {
    if (this.#playback.speed) this.#seek(this.#number);
  }

  #playOrPause() {
    if (this.#playback.speed) this.#pause();
    else this.#play(Number(this.#parts.speed.value));
  }

  /** A frame is shown while playing: in the film, or as an image. */
  #follow(number, image) {
    this.#number = number;
    this.#tell();
    if (image) this.#show(image, { number });
  }

  #switchFullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.#parts.viewer.requestFullscreen?.();
  }

  #pictureOf(number, query) {
    const scan = this.#parts.scan.value;
    return `${this.#movie.path}/frame/${number}.jpg${query}${scan && `&${scan}`}`;
  }

  #show(image, { number }) {
    const { picture, problem, busy } = this.#parts;
    image.alt = `Frame ${count(number)}`;
    image.dataset.number = number;
    image.draggable = false;
    picture.replaceWith(image);
    this.#parts.stage.classList.remove("playing"); // the film
    this.#parts.picture = image;
    problem.hidden = busy.hidden = true;
  }

  #fail(problem) {
    const box = this.#parts.problem;
    const again = make("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => this.#settle());
    box.replaceChildren(make("p", {}, problem.words ?? "An error occurred."), again);
    box.hidden = false;
    this.#parts.busy.hidden = true;
  }

  /** Update number, time and position of the frame, which change constantly. */
  #tell() {
    const { scrubber, number, time, elapsed, activity } = this.#parts;
    const { NumFrames } = this.#movie.facts;
    const at = this.#milliseconds;
    scrubber.value = number.value = this.#number;
    time.textContent = at.moment ? moment(Math.round(at.moment)) : "time unknown";
    if (at.moment) time.dateTime = new Date(Math.round(at.moment)).toISOString();
    elapsed.textContent = `${clock(at.elapsed / 1000)} from the start`;
    const place = `Frame ${count(this.#number)} of ${count(NumFrames)}, ${time.textContent}`;
    scrubber.setAttribute("aria-valuetext", place);
    const here = activity.querySelector(".here");
    for (const end of ["x1", "x2"]) here.setAttribute(end, (this.#number - 0.5) / NumFrames);
  }

  /** Update everything about the frame, including its link and code. */
  #tellAll() {
    this.#tell();
    const { crop } = this.#selection;
    const link = frameLink(this.#movie.names, this.#number, crop);
    history.replaceState(null, "", link);
    const texts = {
      link: location.href,
      python: writePython(this.#movie, this.#number, crop),
      curl: writeCurl(this.#movie, this.#number, crop),
    };
    for (const [id, text] of Object.entries(texts)) document.getElementById(id).value = text;
    pointDownloads(this.#parts.downloads, this.#movie, this.#number, crop);
  }

  async #addActivity() {
    const told = await this.#askAside(`${this.#movie.path}/activity`);
    if (told) drawActivity(this.#parts.activity, told);
  }

  async #addNeighbours() {
    const { names } = this.#movie;
    const listing = await this.#askAside(pathOf(names.slice(0, -1), true));
    const recordings = groupMovies(listing?.Files ?? []);
    const here = recordings.findIndex((each) => each.includes(names.at(-1)));
    if (here < 0) return;
    const linkTo = (name) => movieLink([...names.slice(0, -1), name]);
    for (const [part, found] of [["earlier", recordings[here - 1]], ["later", recordings[here + 1]]]) {
      if (!found) continue;
      const name = found.find((each) => suffixOf(each) === suffixOf(names.at(-1))) ?? found[0];
      this.#parts[part].href = linkTo(name);
      this.#parts[part].title = name;
      this.#parts[part].hidden = false;
    }
    for (const name of recordings[here].filter((each) => each !== names.at(-1))) {
      const kind = suffixOf(name) === ".mp4" ? "twin" : "master";
      this.#more.append(" · ", make("a", { href: linkTo(name), title: name }, `${kind} (${suffixOf(name)})`));
    }
  }

  /** Optional data; null if it cannot be loaded. */
  async #askAside(path) {
    try {
      return await askJson(path, this.#closing.signal);
    } catch {
      return null;
    }
  }
}

/** Copy the text above a button; pages loaded over plain HTTP need the old way. */
async function copyText({ currentTarget: button }) {
  const field = document.getElementById(button.dataset.copy);
  field.select();
  if (navigator.clipboard) await navigator.clipboard.writeText(field.value);
  else document.execCommand("copy");
  announce(`${field.labels[0].textContent}: copied`);
  const text = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = text), 1500);
}
