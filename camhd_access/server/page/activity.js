// The activity strip: encoded frame sizes. Motion and sharp detail make frames larger.

import { bytes, count } from "./text.js";

/** Draw the strip into an SVG element of any shape, and describe it in words. */
export function drawActivity(svg, { NumFrames, FramesPerBin, MeanSizes }) {
  const largest = Math.max(...MeanSizes);
  const least = Math.min(...MeanSizes);
  const floor = 0.9 * least; // sizes vary by a few percent: starting at 0, the strip would be flat
  const points = MeanSizes.map((size, i) => {
    const y = 1 - (size - floor) / (largest - floor || 1);
    const start = (i * FramesPerBin) / NumFrames;
    const stop = Math.min(1, ((i + 1) * FramesPerBin) / NumFrames);
    return `L${start} ${y}L${stop} ${y}`;
  });
  svg.querySelector("path").setAttribute("d", `M0 1${points.join("")}L1 1Z`);
  const at = count(MeanSizes.indexOf(largest) * FramesPerBin + 1);
  const text = `Activity: encoded frames of ${bytes(least)} to ${bytes(largest)}, largest around frame ${at}`;
  svg.setAttribute("aria-label", text);
}
