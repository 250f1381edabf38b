// Folders: the mirrors, years, the months of a year, the days of a month as a calendar, the movies of a day.

import { askJson } from "./api.js";
import { make } from "./elements.js";
import { makeList } from "./listing.js";
import { makePreviews } from "./previews.js";
import { folderLink, groupMovies, movieLink, pathOf, suffixOf } from "./router.js";
import { monthName, timeInName } from "./text.js";

const CAMERA = ["RS03ASHS", "PN03B", "06-CAMHDA301"];
const NAMES_TELL_THE_END_FROM = "20161122";

/** The mirrors as a list of links, for a server that has several. */
export function showMirrors(mirrors) {
  const links = mirrors.map((mirror) => [mirror.title, folderLink(mirror.names)]);
  return [makeHeading("Movies"), ...makeLinks("names", links)];
}

/** A folder, shown according to its path. */
export async function showFolder(names, mirror, signal) {
  const listing = await askJson(pathOf(names, true), signal);
  const folders = listing.Directories.toSorted();
  const others = listing.Files.filter((name) => !suffixOf(name)).toSorted();
  const date = dateOf(names);
  const isMirror = names.length === mirror.names.length;
  return [
    makeHeading(date ? titleOf(date) : isMirror ? mirror.title : names.at(-1)),
    ...(isMirror && folders.includes(CAMERA[0]) ? makeShortcut(names) : []),
    ...makeFolders(names, folders, date),
    ...makeMovies(names, groupMovies(listing.Files), date, signal),
    ...makeOthers(names, others),
    ...(listing.Directories.length + listing.Files.length ? [] : [make("p", {}, "This folder is empty.")]),
  ];
}

/** Year, month and day at the end of a path, as far as present. */
function dateOf(names) {
  const match = /(?:^|\/)((?:19|20)\d\d)(?:\/(0[1-9]|1[0-2]))?(?:\/([0-3]\d))?$/.exec(names.join("/"));
  return match ? match.slice(1).filter(Boolean) : null;
}

function titleOf([year, month, day]) {
  return [day && Number(day), month && monthName(Number(month)), year].filter(Boolean).join(" ");
}

function makeHeading(text) {
  return make("h1", { tabIndex: -1 }, text);
}

function makeLinks(className, links) {
  return makeList(
    className,
    links.map(([text, href]) => [text, () => make("a", { href }, text)]),
  );
}

function makeShortcut(names) {
  const href = folderLink([...names, ...CAMERA]);
  const link = make("a", { className: "button main", href }, "Browse CamHD by year");
  const about = "CamHD films a hydrothermal vent of Axial Seamount, 1.5 km deep, every three hours since 2015.";
  const section = make("section", { className: "shortcut", "aria-label": "CamHD" }, make("p", {}, about), link);
  return [section, make("h2", {}, "All folders")];
}

function makeFolders(names, folders, date) {
  if (!folders.length) return [];
  const isAll = (pattern) => folders.every((name) => pattern.test(name));
  const isYears = !date && isAll(/^(19|20)\d\d$/);
  const isMonths = date?.length === 1 && isAll(/^(0[1-9]|1[0-2])$/);
  if (date?.length === 2 && isAll(/^[0-3]\d$/)) return [makeCalendar(names, folders, date)];
  const textOf = (name) => (isMonths ? monthName(Number(name)) : name);
  const links = folders.map((name) => [textOf(name), folderLink([...names, name])]);
  return makeLinks(isYears || isMonths ? "tiles" : "names", links);
}

/** The month as a calendar; days without a folder are not links. */
function makeCalendar(names, folders, [year, month]) {
  const first = (new Date(Date.UTC(year, month - 1, 1)).getUTCDay() + 6) % 7;
  const nDays = new Date(Date.UTC(year, month, 0)).getUTCDate();
  const cells = [...Array(first).fill(0), ...Array.from({ length: nDays }, (_, i) => i + 1)];
  const rows = [];
  for (let i = 0; i < cells.length; i += 7) {
    const week = Array.from({ length: 7 }, (_, j) => cells[i + j] ?? 0);
    rows.push(make("tr", {}, ...week.map((day) => makeDay(names, folders, day, [year, month]))));
  }
  const days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
  const titles = days.map((day) => make("th", { scope: "col" }, make("abbr", { title: day }, day.slice(0, 2))));
  return make(
    "table",
    { className: "calendar" },
    make("caption", { className: "unseen" }, `Days of ${titleOf([year, month])} with movies`),
    make("thead", {}, make("tr", {}, ...titles)),
    make("tbody", {}, ...rows),
  );
}

function makeDay(names, folders, day, [year, month]) {
  const name = String(day).padStart(2, "0");
  if (!folders.includes(name)) return make("td", {}, day ? String(day) : "");
  const href = folderLink([...names, name]);
  return make("td", {}, make("a", { href, "aria-label": titleOf([year, month, name]) }, String(day)));
}

function makeMovies(names, recordings, date, signal) {
  if (!recordings.length) return [];
  const addPreview = makePreviews(signal);
  const items = recordings.map(([name, ...twins]) => {
    const time = timeInName(name);
    let links = null; // made once, with the preview
    const makeLinks = () => {
      const texts = [...(time ? [make("strong", {}, time)] : []), make("span", {}, name)];
      const href = movieLink([...names, name]);
      const link = addPreview(make("a", { href }, ...texts), pathOf([...names, name]));
      return [link, ...twins.map((twin) => makeTwin([...names, twin]))];
    };
    return [[time, name, ...twins].join(" "), () => (links ??= makeLinks())];
  });
  const list = makeList("movies", items);
  if (date?.length !== 3) return list;
  const told = date.join("") < NAMES_TELL_THE_END_FROM ? "start of the recording" : "end of the recording";
  return [make("p", { className: "hint" }, `Times are from the file names: ${told}, in UTC.`), ...list];
}

/** A small link to the twin of a movie. */
function makeTwin(names) {
  const properties = { className: "twin", href: movieLink(names), "aria-label": `Twin .mp4: ${names.at(-1)}` };
  return make("a", properties, "Twin .mp4");
}

function makeOthers(names, others) {
  if (!others.length) return [];
  const links = others.map((name) => [name, pathOf([...names, name])]);
  const summary = make("summary", {}, `Other files (${others.length})`);
  return [make("details", {}, summary, ...makeLinks("names", links))];
}
