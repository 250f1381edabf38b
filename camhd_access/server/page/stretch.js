// A frame's luma with all of its bits, stretched over the whole range of grey, for what is hidden in the dark.

import { ask } from "./api.js";

const CODES = { gray10le: 1024, gray16le: 65536 }; // of each pixel format
const TAIL = 0.002; // of the pixels, at each end, may be black or white

/**
 * Draw the luma of a frame into a canvas; returns the codes that are black and white, and the largest possible.
 * `pixFmt` is "gray10le", luma as coded, or "gray16le", which movies of 8 bits have too; `scan` is the part of the query that chooses a field or deinterlaces, or empty.
 */
export async function drawStretched(canvas, path, number, pixFmt, scan, signal) {
  const url = `${path}/frame/${number}.npy?pix_fmt=${pixFmt}${scan && `&${scan}`}`;
  const response = await ask(url, { signal });
  const { codes, width, height } = parseNpy(await response.arrayBuffer());
  const [black, white] = findEnds(codes, CODES[pixFmt]);
  const grey = Uint8ClampedArray.from({ length: CODES[pixFmt] }, (_, code) => (255 * (code - black)) / (white - black));
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < codes.length; i++) pixels[i] = 0xff000000 | (grey[codes[i]] * 0x010101);
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return { black, white, most: CODES[pixFmt] - 1 };
}

/** The numbers in a NumPy file (format 1.0) of unsigned 16-bit integers: y, x. */
function parseNpy(body) {
  const start = 10 + new DataView(body).getUint16(8, true);
  const head = new TextDecoder("latin1").decode(new Uint8Array(body, 0, start));
  const [, height, width] = /\((\d+), (\d+)\)/.exec(head).map(Number);
  return { codes: new Uint16Array(body, start), width, height };
}

function findEnds(codes, nCodes) {
  const counts = new Uint32Array(nCodes);
  for (const code of codes) counts[code]++;
  const tail = TAIL * codes.length;
  const find = (order) => {
    let n = 0;
    return order.find((code) => (n += counts[code]) > tail);
  };
  const all = Array.from(counts.keys());
  const black = find(all);
  return [black, Math.max(black + 1, find(all.toReversed()))];
}
