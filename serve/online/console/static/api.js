// The server's API as this page calls it. Addresses are relative, for a server under a path.

const STORED = "pointsman-key";
const BROKEN = "The answer broke off";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Api {
  #key = sessionStorage.getItem(STORED) ?? "";

  get key() {
    return this.#key;
  }

  set key(key) {
    this.#key = key;
    if (key) sessionStorage.setItem(STORED, key);
    else sessionStorage.removeItem(STORED);
  }

  async get(path, signal) {
    return (await this.#call(path, { signal })).json();
  }

  async post(path, body, signal) {
    return (await this.#post(path, body, signal)).json();
  }

  // {headers, events}: of a stream; events are the parsed data of each, up to [DONE].
  async stream(path, body, signal) {
    const response = await this.#post(path, body, signal);
    return { headers: response.headers, events: events(response.body) };
  }

  #post(path, body, signal) {
    const headers = { "content-type": "application/json" };
    return this.#call(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  }

  async #call(path, request) {
    const authorization = this.#key ? { authorization: `Bearer ${this.#key}` } : {};
    const response = await fetch(path, {
      ...request,
      headers: { ...request.headers, ...authorization },
    }).catch(because("The server cannot be reached"));
    if (!response.ok) throw new ApiError(response.status, await told(response));
    return response;
  }
}

// What a browser says of a lost connection tells nobody anything; its own end is no error.
const because = (text) => (error) => {
  throw error.name === "AbortError" ? error : new ApiError(0, text);
};

// The message of an error in OpenAI's form; a proxy in between answers in others.
async function told(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    return `The server answered ${response.status} ${response.statusText}`;
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch(because(BROKEN));
    if (done) throw new ApiError(0, BROKEN);
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice("data:".length).trim();
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new ApiError(0, event.error.message);
      yield event;
    }
  }
}
