// The API's words as people read them, and how each looks.

const TONES = {
  ok: ["CONNECTED", "DELIVERED", "READ", "delivered", "done"],
  busy: ["CONNECTING", "QR", "PAIRING_CODE", "QUEUED", "SENDING", "SENT", "SCHEDULED", "running", "waiting"],
  warn: ["UNDELIVERED", "UNKNOWN", "retry", "REPLACED"],
  bad: ["BANNED", "LOGGED_OUT", "OUTDATED", "PASSKEY_REQUIRED", "FAILED", "EXPIRED", "dead", "disabled", "failed"],
};

export function toneOf(word) {
  return Object.keys(TONES).find((tone) => TONES[tone].includes(word)) ?? "idle";
}

const PLAIN = {
  QR: "Waiting for scan",
  PAIRING_CODE: "Waiting for code",
  dead: "Given up",
  retry: "Failed, tried again",
};

export function plain(word) {
  if (!word) return "";
  const text = (PLAIN[word] ?? word).replaceAll("_", " ");
  return text[0].toUpperCase() + text.slice(1).toLowerCase();
}

// One line that says what a message holds.
export function preview({ kind, content }) {
  if (!content) return "";
  const named = {
    text: () => content.text,
    image: () => content.caption ?? "Image",
    video: () => content.caption ?? (content.note ? "Video note" : "Video"),
    audio: () => (content.voice ? "Voice note" : "Audio"),
    document: () => content.caption ?? content.media?.fileName ?? "Document",
    sticker: () => "Sticker",
    location: () => content.name ?? `${content.latitude}, ${content.longitude}`,
    contact: () => (content.contacts ?? []).map((card) => card.name).join(", "),
    poll: () => content.question,
    poll_vote: () => (content.options ?? []).join(", ") || "Vote",
    list: () => content.title ?? content.text ?? content.button,
    list_reply: () => content.title || content.rowId,
    reaction: () => content.emoji || "Reaction taken back",
    edit: () => content.text,
    revoke: () => "Message deleted",
  };
  return named[kind]?.() ?? kind ?? "";
}

export function person(jid) {
  return (jid ?? "").replace(/@(s\.whatsapp\.net|c\.us)$/, "");
}

const FACTS = {
  "send.message.queued": "Accepted",
  "send.message.sending": "Being sent",
  "messages.upsert": "Received",
  "messages.media.failed": "File missing",
  "delivery.attempt": "Webhook",
};

export function factTitle(fact) {
  return fact.kind === "send.message.status" ? plain(fact.status) : (FACTS[fact.kind] ?? fact.kind);
}

export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  if (milliseconds < 3_600_000) return `${Math.round(milliseconds / 60_000)} min`;
  return `${(milliseconds / 3_600_000).toFixed(1)} h`;
}

const OF_ENDPOINTS = {
  "endpoint.failing": ({ host, status, error }) => [`${host} fails: ${status ? `HTTP ${status}` : error}.`, "warn"],
  "endpoint.recovered": ({ host }) => [`${host} takes events again.`, "ok"],
  "endpoint.exhausted": ({ host, dead }) => [`An event for ${host} was given up; ${dead} by now.`, "bad"],
  "endpoint.disabled": ({ host, reason }) => [`${host} is disabled: ${reason}`, "bad"],
};

// A sentence about a webhook and how bad it is, of an event whose name begins with endpoint.
export function aboutEndpoint({ event, data }) {
  return OF_ENDPOINTS[event]?.(data) ?? [event, "idle"];
}

// What a webhook is up to.
export function health(webhook) {
  if (!webhook.active) return webhook.disabledReason ? ["Disabled", "bad"] : ["Paused", "idle"];
  return webhook.failingSince ? ["Failing", "warn"] : ["Healthy", "ok"];
}
