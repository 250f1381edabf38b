// Where things are: fragments of this page (`#/v1/…/x.mov/frame/7?crop=0,0,64,32`) and paths of the API.
// Both hold the same names, percent-encoded as Python's `quote` does it, so that one is made from the other.
// The page lies at the root of the API, which may be a folder of another host (behind a proxy): `ROOT`.

const ENCODED = /[!'()*]/g; // what encodeURIComponent leaves, and a shell does not

/** The path of the API's root, with a slash at its end. */
export const ROOT = new URL("./", document.baseURI).pathname;

/** A name as it stands in a path. */
export function encodeName(name) {
  return encodeURIComponent(name).replace(ENCODED, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** The path of the API under which these names lie. */
export function pathOf(names, isFolder = false) {
  return ROOT + below(names, isFolder);
}

/** The names of a path of the API, which may be told with its root or without. */
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

/** The fragment of a frame of a movie. */
export function frameLink(names, number, crop) {
  return `#/${below([...names, "frame", String(number)])}${cropQuery(crop)}`;
}

/** A crop as the API's query has it; empty without one. */
export function cropQuery(crop) {
  return crop ? `?crop=${crop.x},${crop.y},${crop.width},${crop.height}` : "";
}

/** What a fragment names: the names up to a folder or movie, and which frame and part of that. */
export function parseFragment(fragment) {
  const [path, query = ""] = fragment.replace(/^#/, "").split("?");
  const names = path.split("/").filter(Boolean).map(decodeName);
  const n = names.findIndex((name) => name.endsWith(".mov")) + 1;
  if (!n) return { names, isMovie: false };
  const [verb, number] = names.slice(n);
  const isNumbered = verb === "frame" && /^\d{1,9}$/.test(number);
  return {
    names: names.slice(0, n),
    isMovie: true,
    number: isNumbered ? Number(number) : 1,
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
    return text; // no encoding of anything: the server will say that it knows no such name
  }
}
