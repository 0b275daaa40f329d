// One message and its whole story: what happened to it, and each request that told a webhook of it.

import { get, post, remove, request } from "../api.js";
import { button, confirmed, copyable, draw, facts, failed, h, notice, say, status, time } from "../dom.js";
import { follow, sleep } from "../live.js";
import { duration, factTitle, person, plain, preview, toneOf } from "../words.js";

const EVENTS = "message.received,message.status,send.message.*,messages.media.failed";
const [SOON_MS, LATE_MS] = [300, 15_000];

export async function show(page, id) {
  const head = h("div", { class: "head" });
  const story = h("section");
  page.main.replaceChildren(h("p", { class: "trail" }, h("a", { href: "#/messages" }, "Messages")), head, story);
  await followMessage(id, page, page.signal, (known, reload) => {
    draw(
      head,
      h("h1", { tabindex: "-1" }, known.message.direction === "inbound" ? "Received message" : "Sent message"),
      status(plain(known.message.status), toneOf(known.message.status)),
      ...actions(known.message, reload),
    );
    draw(story, storyOf(known));
  });
}

// Calls `changed(known, reload)` now and whenever more is known of a message, until `signal`: at its events, and then
// again now and then, since webhooks are told a moment later, and again after hours. Throws what the first time throws.
export async function followMessage(id, page, signal, changed) {
  let shown = "";
  let pause = SOON_MS;
  let waiting = new AbortController();
  let file; // once shown it stays, whatever is told besides
  const reload = async () => {
    const known = await read(id, signal);
    const text = JSON.stringify(known);
    if (text === shown || signal.aborted) return;
    shown = text;
    file ??= media(known.message, signal);
    changed({ ...known, file }, reload);
  };
  await reload();
  follow({
    events: EVENTS,
    signal,
    connection: page.connection,
    heard: (event) => {
      if (event.data?.id !== id && event.data?.message_id !== id) return;
      pause = SOON_MS;
      waiting.abort();
    },
  }).catch(failed);
  void (async () => {
    while (!signal.aborted) {
      waiting = new AbortController();
      await sleep(pause, AbortSignal.any([signal, waiting.signal]));
      pause = Math.min(pause * 1.5, LATE_MS);
      if (!signal.aborted && document.visibilityState === "visible") await reload().catch(() => {});
    }
  })();
}

async function read(id, signal) {
  const path = `messages/${encodeURIComponent(id)}`;
  const [message, story, webhooks] = await Promise.all([
    get(path, {}, signal),
    get(`${path}/story`, {}, signal),
    get("webhooks", {}, signal),
  ]);
  const names = Object.fromEntries(webhooks.map((webhook) => [webhook.id, webhook.url.replace(/^https?:\/\//, "")]));
  return { message, story, names };
}

function actions(message, reload) {
  const path = `messages/${encodeURIComponent(message.id)}`;
  const cancel = async () => {
    await remove(path);
    await reload().finally(() => say("Canceled."));
  };
  const revoke = async () => {
    const text = "WhatsApp deletes it on the phones that take part; that takes a moment and is not certain.";
    if (!(await confirmed({ title: "Delete for everyone?", text, action: "Delete for everyone" }))) return;
    const made = await post(`${path}/revoke`);
    location.hash = `#/messages/${made.id}`;
  };
  const isSent =
    message.direction === "outbound" && ["SENT", "UNDELIVERED", "DELIVERED", "READ"].includes(message.status);
  return [
    message.status === "SCHEDULED" && button("Cancel", cancel),
    isSent &&
      !["revoke", "edit", "reaction"].includes(message.kind) &&
      button("Delete for everyone", revoke, { class: "danger quiet" }),
  ];
}

// An element that tells everything about a message.
export function storyOf({ message, story, names, file }) {
  const began = new Date(story.facts[0]?.at ?? message.timestamp).getTime();
  return h(
    "div",
    {},
    h("blockquote", {}, preview(message)),
    file,
    message.error &&
      notice(
        toneOf(message.status),
        message.error.message,
        message.error.detail && h("small", {}, message.error.detail),
      ),
    h(
      "ol",
      { class: "story" },
      story.facts.map((fact) => step(fact, began, names)),
    ),
    facts(
      ["Chat", h("a", { href: `#/messages?${new URLSearchParams({ chat: message.chat })}` }, person(message.chat))],
      ["From", person(message.from)],
      ["Kind", plain(message.kind)],
      ["Device", h("a", { href: `#/devices/${encodeURIComponent(message.deviceId)}` }, message.deviceId)],
      ["Time", time(message.timestamp)],
      ["Send at", message.sendAt && time(message.sendAt)],
      ["Id", copyable(message.id)],
      ["Id on WhatsApp", message.messageId && copyable(message.messageId)],
    ),
  );
}

function step(fact, began, webhooks) {
  const isAttempt = fact.kind === "delivery.attempt";
  const tone = toneOf(isAttempt ? fact.outcome : (fact.status ?? "").toUpperCase());
  const after = new Date(fact.at).getTime() - began;
  return h(
    "li",
    { class: isAttempt ? `attempt ${tone}` : tone },
    h("span", { class: "after", title: fact.at }, after > 0 ? `+${duration(after)}` : time(fact.at)),
    h("strong", {}, factTitle(fact)),
    isAttempt
      ? attempted(fact, webhooks)
      : h("span", {}, [
          fact.recipient && `by ${person(fact.recipient)} `,
          fact.message,
          fact.detail && h("small", {}, fact.detail),
        ]),
  );
}

function attempted(fact, webhooks) {
  const answer = fact.httpStatus ? `HTTP ${fact.httpStatus}` : (fact.error ?? "");
  return h(
    "span",
    {},
    status(plain(fact.outcome), toneOf(fact.outcome)),
    ` ${answer}, ${duration(fact.milliseconds ?? 0)}`,
    fact.attempt > 1 && `, attempt ${fact.attempt}`,
    fact.isReplay && ", sent again",
    fact.nextAt && [", next at ", time(fact.nextAt)],
    h(
      "small",
      {},
      h("a", { href: `#/webhooks/${encodeURIComponent(fact.webhook)}` }, webhooks[fact.webhook] ?? fact.webhook),
      ` · ${fact.event}`,
    ),
    fact.detail && h("small", {}, fact.detail),
  );
}

function media(message, signal) {
  const file = message.content?.media;
  if (!file?.id) return null;
  const shown = h("p", {});
  const load = async () => {
    const answer = await request("GET", `media/${encodeURIComponent(file.id)}`, { signal });
    const address = URL.createObjectURL(await answer.blob());
    signal.addEventListener("abort", () => URL.revokeObjectURL(address));
    if (["image", "sticker"].includes(message.kind)) {
      shown.replaceChildren(h("img", { class: "media", src: address, alt: preview(message) }));
    } else {
      const name = file.fileName ?? `${message.kind}-${file.id}`;
      shown.replaceChildren(h("a", { class: "button", href: address, download: name }, `Save ${name}`));
    }
  };
  const size = file.size ? ` (${Math.ceil(file.size / 1024)} kB)` : "";
  shown.append(button(`Show the file${size}`, () => load().catch(failed)));
  return shown;
}
