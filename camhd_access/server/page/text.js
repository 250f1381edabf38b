// Formatting of numbers, times and sizes.

const MONTHS = [
  "January", "February", "March", "April", "May", "June",
  "July", "August", "September", "October", "November", "December",
];

/** The name of a month, from its number in a year. */
export function monthName(number) {
  return MONTHS[number - 1];
}

/** The name of a codec, from its four-character code. */
export function codecName(code) {
  return { ap: "ProRes", av: "H.264", hv: "HEVC", he: "HEVC" }[code.slice(0, 2)] ?? code;
}

/** A number with thousands separators. */
export function count(number) {
  return number.toLocaleString("en");
}

/** An ordinal number: 2nd, 3rd, 11th. */
export function ordinal(number) {
  const ends = { one: "st", two: "nd", few: "rd", other: "th" };
  return number + ends[new Intl.PluralRules("en", { type: "ordinal" }).select(number)];
}

/** Bytes in a suitable unit. */
export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, number)) / 3));
  const value = number / 1000 ** power;
  return `${value.toLocaleString("en", { maximumFractionDigits: power ? 1 : 0 })} ${units[power]}`;
}

/** Seconds as minutes, seconds and thousandths. */
export function clock(seconds) {
  const milliseconds = Math.round(seconds * 1000);
  const rest = ((milliseconds % 60000) / 1000).toFixed(3).padStart(6, "0");
  return `${Math.floor(milliseconds / 60000)}:${rest}`;
}

/** A duration in minutes and seconds. */
export function duration(seconds) {
  const tenths = Math.round(seconds * 10);
  const rest = `${(tenths % 600) / 10} s`;
  return tenths < 600 ? rest : `${Math.floor(tenths / 600)} min ${rest}`;
}

/** A time in UTC, in milliseconds: `2016-11-13 00:04:00.240 UTC`. */
export function moment(milliseconds) {
  return new Date(milliseconds).toISOString().replace("T", " ").replace("Z", " UTC");
}

/** A time in UTC as a heading. */
export function heading(milliseconds) {
  const date = new Date(milliseconds);
  const time = date.toISOString().slice(11, 19);
  return `${date.getUTCDate()} ${monthName(date.getUTCMonth() + 1)} ${date.getUTCFullYear()}, ${time} UTC`;
}

/** The time in the name of a movie, `CAMHDA301-20161113T000000Z.mov`, as hours and minutes; else null. */
export function timeInName(name) {
  const match = /-\d{8}T(\d\d)(\d\d)\d\d/.exec(name);
  return match ? `${match[1]}:${match[2]}` : null;
}

/**
 * The time that a text names, in milliseconds: `2016-11-13 00:04`, or `00:04:00.24` on the day of a movie that
 * starts at `start`, or after midnight. NaN if it is none.
 */
export function parseMoment(text, start) {
  const clean = text.trim().replace(/\s*(UTC|Z)$/i, "");
  const match = /^(\d{1,2}):(\d\d)(?::(\d\d(?:\.\d+)?))?$/.exec(clean);
  if (!match) return /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d/.test(clean) ? Date.parse(`${clean.replace(" ", "T")}Z`) : NaN;
  const [hours, minutes, seconds] = match.slice(1).map((each) => Number(each ?? 0));
  const day = 86400000;
  const time = Math.floor(start / day) * day + 1000 * (3600 * hours + 60 * minutes + seconds);
  return time < start - day / 2 ? time + day : time;
}
