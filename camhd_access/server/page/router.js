// Locations: fragments of this page (`#/v1/…/x.mov/frame/7?crop=0,0,64,32`) and paths of the API.
// Both have the same parts, percent-encoded like Python's `quote`, so that one is made from the other.
// The page is at the root of the API, which may be a folder of another host (behind a proxy): `ROOT`.

const ENCODED = /[!'()*]/g; // left by encodeURIComponent, but special in a shell
const MOVIE = /\.(mov|mp4)$/;

/** The suffix of a movie's name, `.mov` or `.mp4`; null for other files. */
export function suffixOf(name) {
  return MOVIE.exec(name)?.[0] ?? null;
}

/** The path of the API's root, with a trailing slash. */
export const ROOT = new URL("./", document.baseURI).pathname;

/** A name, encoded for a path. */
export function encodeName(name) {
  return encodeURIComponent(name).replace(ENCODED, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** The path of the API for these parts. */
export function pathOf(names, isFolder = false) {
  return ROOT + below(names, isFolder);
}

/** The path of the properties of a movie; that of a twin (`.mp4`) itself is a redirect to the file. */
export function factsPath(path) {
  return suffixOf(path) === ".mp4" ? `${path}/info.json` : path;
}

/** The movies among some files, by recording: the master (`.mov`), then its twin (`.mp4`), if they exist. */
export function groupMovies(files) {
  const recordings = new Map();
  for (const name of files.filter(suffixOf).toSorted()) {
    const stem = name.replace(MOVIE, "");
    recordings.set(stem, [...(recordings.get(stem) ?? []), name]);
  }
  return [...recordings.values()];
}

/** The parts of a path of the API, with or without its root. */
export function namesOf(path) {
  return parseFragment(path.startsWith(ROOT) ? `/${path.slice(ROOT.length)}` : path).names;
}

function below(names, isFolder = false) {
  return names.map(encodeName).join("/") + (isFolder && names.length ? "/" : "");
}

/** The fragment of a folder. */
export function folderLink(names) {
  return `#/${below(names, true)}`;
}

/** The fragment of a movie, which is shown from a lit frame on. */
export function movieLink(names) {
  return `#/${below(names)}`;
}

/** The fragment of a frame of a movie. */
export function frameLink(names, number, crop) {
  return `#/${below([...names, "frame", String(number)])}${cropQuery(crop)}`;
}

/** A crop as a query of the API; empty without one. */
export function cropQuery(crop) {
  return crop ? `?crop=${crop.x},${crop.y},${crop.width},${crop.height}` : "";
}

/** Parse a fragment: the parts up to a folder or movie, the frame (null: none is given) and the crop. */
export function parseFragment(fragment) {
  const [path, query = ""] = fragment.replace(/^#/, "").split("?");
  const names = path.split("/").filter(Boolean).map(decodeName);
  const n = names.findIndex(suffixOf) + 1;
  if (!n) return { names, isMovie: false };
  const [verb, number] = names.slice(n);
  const isNumbered = verb === "frame" && /^\d{1,9}$/.test(number);
  return {
    names: names.slice(0, n),
    isMovie: true,
    number: isNumbered ? Number(number) : null,
    crop: parseCrop(query),
  };
}

function parseCrop(query) {
  const match = /^\d{1,5}(,\d{1,5}){3}$/.exec(new URLSearchParams(query).get("crop") ?? "");
  if (!match) return null;
  const [x, y, width, height] = match[0].split(",").map(Number);
  return { x, y, width, height };
}

function decodeName(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // not a valid encoding: the server will report that there is no such name
  }
}
