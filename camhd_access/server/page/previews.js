// Previews of the movies in a listing: a lit frame, and what is wrong with a movie. Only of those in view.

import { askJson } from "./api.js";
import { make } from "./elements.js";
import { load } from "./pictures.js";
import { factsPath } from "./router.js";

const AT_ONCE = 2; // movies: each costs the mirror its index and a frame

/** A function that adds the preview to a movie's link, once it is in view, until the page is left. */
export function makePreviews(signal) {
  const paths = new Map(); // by link
  const waiting = new Set();
  let nUnderWay = 0;
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) waiting.add(target);
      else waiting.delete(target);
    }
    work();
  });
  signal.addEventListener("abort", () => {
    observer.disconnect();
    waiting.clear();
  });

  function work() {
    for (const link of waiting) {
      if (nUnderWay === AT_ONCE) return;
      nUnderWay++;
      waiting.delete(link);
      observer.unobserve(link);
      fill(link, paths.get(link), signal).finally(() => {
        nUnderWay--;
        work();
      });
    }
  }

  return (link, path) => {
    link.prepend(make("div", { className: "preview" }));
    paths.set(link, path);
    observer.observe(link);
    return link;
  };
}

async function fill(link, path, signal) {
  const mark = (text) => link.append(make("em", {}, text));
  try {
    const { Quality, QualityReason, LitFrame } = await askJson(factsPath(path), signal);
    if (QualityReason) mark(`${Quality}: ${QualityReason}`);
    if (!LitFrame) return;
    const image = await load(`${path}/frame/${LitFrame}.jpg?reduce=8`, signal);
    image.alt = "";
    link.querySelector(".preview").append(image);
  } catch (problem) {
    if (signal.aborted) return;
    mark(problem.status === 422 ? `broken: ${problem.message}` : (problem.words ?? "An error occurred."));
  }
}
