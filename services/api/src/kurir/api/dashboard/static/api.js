// Requests to the public API, with the key that this tab was given.

const ROOT = new URL("../../../", import.meta.url); // this file stands at <root>dashboard/assets/<release>/
const STORED = "kurir.key";
const TIMEOUT_MS = 30_000;
const UPLOAD_TIMEOUT_MS = 300_000;

export class ApiError extends Error {
  constructor(status, body) {
    super(body.message ?? body.error ?? `The API answered ${status}.`);
    this.name = "ApiError";
    this.status = status;
    this.code = body.code;
    this.field = body.field;
  }

  get isSignedOut() {
    return this.status === 401;
  }
}

let whenRefused = () => {};

export const key = {
  get: () => sessionStorage.getItem(STORED),
  set: (value) => sessionStorage.setItem(STORED, value),
  forget: () => sessionStorage.removeItem(STORED),
};

// `tell` is called when the API no longer knows the key.
export function onRefused(tell) {
  whenRefused = tell;
}

export function url(path, query = {}) {
  const found = new URL(path.replace(/^\//, ""), ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") found.searchParams.set(name, value);
  }
  return found;
}

// The answer itself; throws ApiError for all but success. `body` is JSON, or a FormData; `as` is another key than the
// tab's.
export async function request(method, path, { query, body, headers = {}, signal, timeout, as } = {}) {
  const isForm = body instanceof FormData;
  const given = { "X-API-Key": as ?? key.get() ?? "", ...headers };
  if (body !== undefined && !isForm) given["Content-Type"] = "application/json";
  const limits = timeout === null ? [] : [AbortSignal.timeout(timeout ?? (isForm ? UPLOAD_TIMEOUT_MS : TIMEOUT_MS))];
  if (signal) limits.push(signal);
  let answer;
  try {
    answer = await fetch(url(path, query), {
      method,
      headers: given,
      body: body === undefined || isForm ? body : JSON.stringify(body),
      signal: AbortSignal.any(limits),
      cache: "no-store",
      redirect: "error",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    const text = error.name === "TimeoutError" ? "The API did not answer in time." : "The API cannot be reached.";
    throw new ApiError(0, { message: text, code: "UNREACHABLE" });
  }
  if (!answer.ok) {
    const problem = new ApiError(answer.status, await answer.json().catch(() => ({})));
    if (problem.isSignedOut && as === undefined) whenRefused(problem);
    throw problem;
  }
  return answer;
}

async function json(method, path, options) {
  const answer = await request(method, path, options);
  return answer.status === 204 ? null : answer.json();
}

export const get = (path, query, signal) => json("GET", path, { query, signal });
export const post = (path, body, options = {}) => json("POST", path, { body, ...options });
export const patch = (path, body) => json("PATCH", path, { body });
export const remove = (path) => json("DELETE", path);

// Makes a repeat of the same request harmless, also where pages are not served by https.
export function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
