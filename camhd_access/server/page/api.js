// Requests to the server, and its problem details (RFC 9457).

/** An error response of the server. */
export class Problem extends Error {
  constructor(status, title, detail) {
    super(detail);
    this.status = status;
    this.title = title;
  }

  /** The message, with the status for error reports. */
  get words() {
    return this.status ? `${this.message} (${this.status} ${this.title})` : this.message;
  }
}

/** The response to a request; throws a `Problem` for errors. */
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

/** A JSON response. */
export async function askJson(path, signal) {
  return (await ask(path, { signal, headers: { Accept: "application/json" } })).json();
}

async function readProblem(response) {
  const told = await response.json().catch(() => ({}));
  const title = told.title ?? response.statusText;
  return new Problem(response.status, title, told.detail ?? "The server gave no reason.");
}
