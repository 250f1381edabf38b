// Questions to the server, and its problems in words (RFC 9457).

/** What the server could not do. */
export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail);
    this.status = status;
    this.title = title;
  }

  /** For people: what it was, and the status for whom they ask about it. */
  get words() {
    return this.status ? `${this.message} (${this.status} ${this.title})` : this.message;
  }
}

/** The answer to a request; a `Problem` where it is not what was asked for. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "", "The server cannot be reached. Is it running, and are you online?");
  }
  if (!response.ok) throw await readProblem(response);
  return response;
}

/** An answer in JSON. */
export async function askJson(path, signal) {
  return (await ask(path, { signal, headers: { Accept: "application/json" } })).json();
}

async function readProblem(response) {
  const told = await response.json().catch(() => ({}));
  const title = told.title ?? response.statusText;
  return new Problem(response.status, title, told.detail ?? "The server did not say why.");
}
