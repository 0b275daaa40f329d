// What happens, as it happens: a tenant's events over a websocket, one device's state and QR code as a stream.

import { get, post, request, url } from "./api.js";
import { failed } from "./dom.js";

const SILENCE_MS = 45_000;
const LOOKS = 3; // the history is behind by moments: what an event tells of may not be there at the first look
const PAUSES_MS = [500, 1000, 2000, 5000, 10_000, 15_000];

// Calls `heard(event)` for each event until `signal`, without a gap over lost connections; `connection(isUp)` tells of
// those.
export async function follow({ events, deviceId, signal, heard, connection = () => {} }) {
  let after;
  await keepTrying(signal, connection, async (isUp) => {
    // A ticket stands for the key, which must not be in a URL.
    const { ticket } = await post("events/tickets", undefined, { signal });
    const where = url("events/socket", { ticket, events, deviceId, after });
    where.protocol = where.protocol === "https:" ? "wss:" : "ws:";
    let isOpen = false;
    await socket(where, signal, (message) => {
      isOpen = true;
      isUp();
      after = message.data?.resumeAfter ?? message.id;
      if (!message.event?.startsWith("stream.")) heard(message);
    });
    if (!isOpen && !signal.aborted) await whyNot({ events, deviceId }, signal);
  });
}

// Browsers keep to themselves why a websocket was refused; throws it as the API tells it for a stream.
async function whyNot(query, signal) {
  const asked = new AbortController();
  await request("GET", "events", { query, signal: AbortSignal.any([signal, asked.signal]) });
  asked.abort();
}

function socket(where, signal, told) {
  return new Promise((resolve) => {
    const opened = new WebSocket(where);
    const leave = () => {
      silence.end();
      signal.removeEventListener("abort", leave);
      opened.onmessage = null;
      opened.close();
      resolve();
    };
    const silence = new Silence(leave);
    signal.addEventListener("abort", leave);
    opened.addEventListener("close", leave);
    opened.onmessage = ({ data }) => {
      silence.broken();
      told(JSON.parse(data));
    };
  });
}

// The API says something every 15 seconds; a connection over which nothing comes for three times as long is dead, which
// browsers may notice only after minutes.
class Silence {
  constructor(tooLong) {
    this.tooLong = tooLong;
    this.broken();
  }

  broken() {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.tooLong, SILENCE_MS);
  }

  end() {
    clearTimeout(this.timer);
  }
}

// Calls `heard(name, data)` with the device's `status` and `qr` events until `signal`.
export async function followDevice({ deviceId, signal, heard, connection = () => {} }) {
  await keepTrying(signal, connection, async (isUp) => {
    const given = new AbortController();
    const options = { signal: AbortSignal.any([signal, given.signal]), timeout: null };
    const answer = await request("GET", `devices/${encodeURIComponent(deviceId)}/events`, options);
    isUp();
    let rest = "";
    const silence = new Silence(() => given.abort());
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return silence.end();
      silence.broken();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
        if (fields.data) heard(fields.event, JSON.parse(fields.data));
      }
    }
  });
}

// Until `signal`, or until the API refuses for good: throws its ApiError then.
async function keepTrying(signal, connection, attempt) {
  let failures = 0;
  while (!signal.aborted) {
    try {
      await attempt(() => {
        failures = 0;
        connection(true);
      });
    } catch (error) {
      if (signal.aborted || error.isSignedOut) return;
      if ([400, 403, 404].includes(error.status)) throw error;
    }
    if (signal.aborted) return;
    connection(false);
    const pause = PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)];
    await sleep(pause * (0.75 + Math.random() / 2), signal);
  }
}

export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const awake = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", awake);
      resolve();
    };
    const timer = setTimeout(awake, milliseconds);
    signal.addEventListener("abort", awake);
  });
}

// Calls `reload` now and every `everyMs` while somebody looks. Resolves after the first time; throws what that throws.
export async function reloadEvery(everyMs, signal, reload) {
  await reload();
  void (async () => {
    for (;;) {
      await sleep(everyMs, signal);
      if (signal.aborted) return;
      if (document.visibilityState === "visible") await reload().catch(() => {}); // what is shown stays
    }
  })();
}

// Calls `reload` now, and again after each event, LOOKS times: once in `everyMs` at most, never twice at once. Resolves
// after the first time; throws what that one throws.
export async function reloadOn({ events, deviceId, signal, everyMs = 400, reload, connection }) {
  let looks = 0;
  let isRunning = false;
  const again = async () => {
    looks = LOOKS;
    if (isRunning) return;
    isRunning = true;
    while (looks > 0 && !signal.aborted) {
      looks -= 1;
      await reload().catch(() => {}); // the next event asks again; what is shown stays
      await sleep(everyMs, signal);
    }
    isRunning = false;
  };
  await reload();
  let wasUp = false; // what happened before the first event could come counts as well
  void follow({
    events,
    deviceId,
    signal,
    heard: () => void again(),
    connection: (isUp) => {
      if (isUp && !wasUp) void again();
      wasUp = isUp;
      connection?.(isUp);
    },
  }).catch(failed);
}

export async function devicesByName(signal) {
  const devices = await get("devices", {}, signal);
  return devices.map((device) => [device.id, device.name]);
}
