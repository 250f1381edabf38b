// Code and downloads for the image shown. The API counts frames from 1, Python from 0.

import { ask } from "./api.js";
import { make } from "./elements.js";
import { cropQuery, encodeName, suffixOf } from "./router.js";
import { codecName } from "./text.js";

const FORMATS = { PNG: "png", JPEG: "jpg", "TIFF, 16 bits": "tif", NumPy: "npy" };
const FILM = "Film, MP4";
const CLIP_FRAMES = 300; // the largest number that servers allow by default: 10 seconds

/** The address of a movie on its mirror. */
export function addressOf({ names, mirror }) {
  return mirror.url + names.slice(mirror.names.length).map(encodeName).join("/");
}

/** Python that reads the frame as an array: lazily, and directly. */
export function writePython(movie, number, crop) {
  const { x, y, width, height } = crop ?? {};
  const indices = crop ? `${number - 1}, ${y}:${y + height}, ${x}:${x + width}` : `${number - 1}`;
  const slices = crop ? `, y=slice(${y}, ${y + height}), x=slice(${x}, ${x + width})` : "";
  return [
    "from camhd_access import MovieReader, open_movie",
    "",
    `url = "${addressOf(movie)}"`,
    `frame = open_movie(url)[${indices}]  # xarray, lazy`,
    `pixels = MovieReader(url).read(${number - 1}${slices})[0]  # numpy`,
  ].join("\n");
}

/** A shell command that saves the frame as PNG. */
export function writeCurl(movie, number, crop) {
  const name = encodeName(nameOf(movie, number, crop, "png"));
  return `curl -o '${name}' '${location.origin}${movie.path}/frame/${number}.png${cropQuery(crop)}'`;
}

/** Links that save a frame in each format, the encoded frame, and what follows; they have no target yet. */
export function makeDownloads({ facts }, fail) {
  const { sample, clip } = titlesOf(facts);
  return [...Object.keys(FORMATS), sample, clip, FILM].map((title) => {
    const link = make("a", { className: "button" }, title);
    if (title === clip || title === FILM) {
      link.title = "10 seconds from this frame on";
      return link; // too large for memory: the browser saves it while it arrives
    }
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in a new tab
      event.preventDefault();
      save(link).catch(fail);
    });
    return link;
  });
}

function titlesOf({ Codec }) {
  const name = codecName(Codec);
  return { sample: `${name} sample`, clip: `Clip, ${name}` };
}

/** Set the links to a frame. */
export function pointDownloads(container, movie, number, crop) {
  const last = Math.min(movie.facts.NumFrames, number + CLIP_FRAMES - 1);
  const parts = {
    [titlesOf(movie.facts).clip]: [`/clip/${number}-${last}.mov`, "mov"],
    [FILM]: [`/animation.mp4?start=${number}&stop=${last}&width=960`, "mp4"],
  };
  for (const link of container.children) {
    if (link.textContent in parts) {
      const [path, kind] = parts[link.textContent];
      link.href = movie.path + path;
      link.download = nameOf(movie, number, null, kind);
      continue;
    }
    const kind = FORMATS[link.textContent];
    link.href = movie.path + (kind ? `/frame/${number}.${kind}${cropQuery(crop)}` : `/sample/${number}`);
    link.download = nameOf(movie, number, kind ? crop : null, kind ?? movie.facts.Codec);
  }
}

/**
 * Save a file; the browser itself would save an error message as if it were the image. The browser does it
 * only if the file is in an image store whose host does not allow scripts to read it.
 */
async function save({ href, download }) {
  let url = href;
  try {
    url = URL.createObjectURL(await (await ask(href)).blob());
  } catch (problem) {
    if (problem.status) throw problem;
  }
  make("a", { href: url, download }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function nameOf({ names }, number, crop, kind) {
  const stem = names.at(-1).slice(0, -suffixOf(names.at(-1)).length);
  const part = crop ? `-${crop.x}-${crop.y}-${crop.width}x${crop.height}` : "";
  return `${stem}-frame-${String(number).padStart(6, "0")}${part}.${kind}`;
}
