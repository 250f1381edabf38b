// The page: it shows the place in its fragment, and links are fragments. There is no other state.

import { askJson, Problem } from "./api.js";
import { announce, copyTemplate, make } from "./elements.js";
import { showFolder, showMirrors } from "./folders.js";
import { openMovie } from "./movie.js";
import { folderLink, namesOf, parseFragment, ROOT } from "./router.js";

const main = document.getElementById("main");
let mirrors = null;
let shown = null; // the open movie page
let leaving = new AbortController(); // aborts requests of the previous page

/** The mirrors of the server, each with the parts of its path in the API. */
async function findMirrors() {
  const told = Object.entries(await askJson(ROOT));
  return told.map(([url, { APIPath }]) => ({
    url,
    title: url.replace(/^https?:\/\//, "").replace(/\/$/, ""),
    names: namesOf(APIPath.V1),
  }));
}

function mirrorOf(names) {
  const mirror = mirrors
    .filter((each) => each.names.every((name, i) => names[i] === name))
    .sort((a, b) => b.names.length - a.names.length)[0];
  if (!mirror) throw new Problem(404, "Not Found", "This server has no such mirror.");
  return mirror;
}

/** Show the place in the fragment. */
async function visit() {
  const place = parseFragment(location.hash);
  if (place.isMovie && shown?.isAt(place.names)) return shown.visit(place);
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  shown?.close();
  shown = null;
  main.setAttribute("aria-busy", "true");
  announce("Loading…");
  try {
    const content = await find(place, signal);
    if (!signal.aborted) show(content);
  } catch (error) {
    if (error.name !== "AbortError" && !signal.aborted) show(makeProblem(error, place));
    if (!(error instanceof Problem) && error.name !== "AbortError") throw error;
  } finally {
    if (!signal.aborted) main.removeAttribute("aria-busy");
  }
}

async function find(place, signal) {
  showTrail([]);
  mirrors ??= await findMirrors();
  if (!place.names.length && mirrors.length > 1) return showMirrors(mirrors);
  const names = place.names.length ? place.names : mirrors[0].names;
  const mirror = mirrorOf(names);
  showTrail(makeTrail(names, mirror));
  if (!place.isMovie) return showFolder(names, mirror, signal);
  const movie = await openMovie({ ...place, mirror }, signal);
  if (!signal.aborted) shown = movie;
  return movie.content;
}

function show(content) {
  const isFirst = !main.querySelector("h1");
  main.replaceChildren(...content);
  const heading = main.querySelector("h1");
  document.title = `${heading.textContent} · camhd_access`;
  announce(heading.textContent);
  if (!isFirst) heading.focus();
  shown?.begin();
}

/** Breadcrumbs: the mirror, then folder by folder, each with its link. */
function makeTrail(names, mirror) {
  const links = [[mirror.title, folderLink(mirror.names)]];
  for (let n = mirror.names.length + 1; n <= names.length; n++) {
    links.push([names[n - 1], folderLink(names.slice(0, n))]);
  }
  return links;
}

function showTrail(links) {
  const items = links.map(([text, href], i) => {
    const isHere = i === links.length - 1;
    const properties = isHere ? { "aria-current": "page" } : { href };
    return make("li", {}, make(isHere ? "span" : "a", properties, text));
  });
  document.querySelector("#trail ol").replaceChildren(...items);
}

function makeProblem(error, { names, isMovie }) {
  const { copy, parts } = copyTemplate("problem-page");
  parts.text.textContent = error instanceof Problem ? error.words : "An error occurred; reload the page.";
  parts.again.addEventListener("click", visit);
  parts.up.href = isMovie ? folderLink(names.slice(0, -1)) : "#/";
  if (!isMovie) parts.up.textContent = "Back to the start";
  return [copy];
}

document.getElementById("skip").addEventListener("click", () => main.focus());
addEventListener("hashchange", visit);
visit();
