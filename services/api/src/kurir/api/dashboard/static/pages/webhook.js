// One webhook: its health, what was sent to it and how it answered, its secret, and sending again.

import { get, patch, post, remove } from "../api.js";
import {
  button,
  confirmed,
  copyable,
  dialog,
  draw,
  empty,
  facts,
  h,
  notice,
  opener,
  say,
  shownOnce,
  status,
  table,
  time,
} from "../dom.js";
import { form } from "../forms.js";
import { devicesByName, reloadEvery } from "../live.js";
import { aboutEndpoint, duration, health, plain, toneOf } from "../words.js";
import { tellOfEndpoints, webhookForm } from "./webhooks.js";

const SAMPLES = [
  "ping",
  "message.received",
  "message.status",
  "device.status",
  "messages.media.failed",
  "call.update",
  "groups.upsert",
  "groups.update",
  "group-participants.update",
  "contacts.update",
  "presence.update",
  "send.message.queued",
  "send.message.sending",
  "endpoint.failing",
  "endpoint.recovered",
  "endpoint.exhausted",
  "endpoint.disabled",
];
const OUTCOMES = [
  ["", "All"],
  ["delivered", "Delivered"],
  ["retry", "Failed, tried again"],
  ["dead", "Given up"],
];

export async function show(page, id) {
  const path = `webhooks/${encodeURIComponent(id)}`;
  const names = await devicesByName(page.signal);
  const parts = {
    head: h("div", { class: "head" }),
    health: h("section"),
    told: h("section"),
    replays: h("section"),
  };
  const attempts = attemptsOf(page, path);
  page.main.replaceChildren(
    h("p", { class: "trail" }, h("a", { href: "#/webhooks" }, "Webhooks")),
    ...Object.values(parts),
    attempts.element,
  );
  const reload = async () => {
    const [webhook, replays, dead] = await Promise.all([
      get(path, {}, page.signal),
      get(`${path}/replays`, {}, page.signal),
      get(`${path}/attempts`, { outcome: "dead", limit: 1 }, page.signal).catch(() => null), // the database is away
    ]);
    const [word, tone] = health(webhook);
    draw(parts.head, h("h1", { tabindex: "-1", class: "clip" }, webhook.url), status(word, tone));
    draw(
      parts.health,
      ...told(webhook),
      actionsOf(webhook, names, path, reload),
      details(webhook, names, dead?.attempts[0]),
    );
    draw(parts.replays, ...replaysOf(replays, path, reload));
    await retell(); // also what was told while nothing followed
    await attempts.reload();
  };
  const retell = async () => draw(parts.told, ...toldOf(await get(`${path}/events`, {}, page.signal)));
  tellOfEndpoints(page, () => void retell().catch(() => {})); // what is shown stays
  await reloadEvery(4000, page.signal, reload);
}

function told(webhook) {
  const later = "Nothing is kept for it meanwhile: enable it, then send again what happened since.";
  if (!webhook.active && webhook.disabledReason)
    return [notice("bad", `Disabled: ${webhook.disabledReason}. ${later}`)];
  if (!webhook.active) return [notice("idle", `It is paused. ${later}`)];
  if (!webhook.failingSince) return [];
  const last = webhook.lastError ? `: ${webhook.lastStatus ? `HTTP ${webhook.lastStatus}` : webhook.lastError}` : "";
  const meanwhile = `${last}. What fails is tried again by the schedule; what was given up can be sent again.`;
  return [notice("warn", "Failing since ", time(webhook.failingSince), meanwhile)];
}

function actionsOf(webhook, names, path, reload) {
  const set = (active) => async () => {
    await patch(path, { active });
    await reload();
  };
  const edit = async () => {
    const webhook = await get(path); // somebody else may have changed it
    const box = dialog(
      "Webhook settings",
      webhookForm({
        names,
        webhook,
        action: "Save",
        cancel: () => box.close(),
        submit: async (values) => {
          const nothing = { deviceId: null, maxPerSecond: null };
          await patch(path, { ...nothing, ...JSON.parse(JSON.stringify(values)) });
          box.close();
          await reload();
        },
      }),
    );
  };
  const drop = async () => {
    const text = "What waits for it is not sent.";
    if (!(await confirmed({ title: "Delete this webhook?", text, action: "Delete" }))) return;
    await remove(path);
    location.hash = "#/webhooks";
  };
  return h(
    "div",
    { class: "actions start" },
    webhook.active ? button("Pause", set(false)) : button("Enable", set(true), { class: "primary" }),
    button("Settings", edit),
    button("Test", () => test(path, reload)),
    button("New secret", () => rotate(path, reload)),
    button("Send again", () => replay(path, reload)),
    button("Delete", drop, { class: "danger quiet" }),
  );
}

function details(webhook, names, dead) {
  const device = webhook.deviceId && (new Map(names).get(webhook.deviceId) ?? webhook.deviceId);
  return facts(
    ["Id", copyable(webhook.id)],
    ["Events", webhook.events.join(", ")],
    ["Device", device],
    ["Chats", webhook.filter.chats?.join(", ")],
    ["Direction", { in: "what others wrote", out: "what your numbers wrote" }[webhook.filter.direction]],
    ["Signatures", webhook.signatures.join(", ")],
    ["Public key", webhook.publicKey && copyable(webhook.publicKey)],
    ["Shape", webhook.payload],
    ["Headers", Object.keys(webhook.headers).join(", ")],
    [
      "Order",
      webhook.inOrder
        ? `one at a time, in order; a failing one is waited for ${webhook.headTimeout} s`
        : "as they come",
    ],
    ["At once", `${webhook.maxInFlight} requests${webhook.maxPerSecond ? `, ${webhook.maxPerSecond} a second` : ""}`],
    ["Created", time(webhook.createdAt)],
    ["Given up last", dead && [time(dead.at), `, ${dead.event}, ${whyDead(dead)}`]],
  );
}

function whyDead({ attempt, error }) {
  return error === "backlog_full" ? "at once, because too much waited for it" : `after ${attempt} attempts`;
}

function test(path, reload) {
  const answer = h("div", { role: "status" });
  const box = dialog("Test", [
    form({
      fields: [
        {
          name: "event",
          label: "Sample",
          kind: "select",
          options: SAMPLES,
          hint: "It is sent once, signed as everything is, and marked as a test.",
        },
      ],
      action: "Send the sample",
      cancel: () => box.close(),
      submit: async (values) => {
        answer.replaceChildren();
        const attempt = await post(`${path}/test`, values);
        answer.replaceChildren(
          status(plain(attempt.outcome), toneOf(attempt.outcome)),
          ` ${answered(attempt)}, ${duration(attempt.milliseconds)}`,
          facts(["Detail", attempt.detail], ["Answer", attempt.response && h("pre", {}, attempt.response)]),
        );
        await reload();
      },
    }),
    answer,
  ]);
}

function rotate(path, reload) {
  const box = dialog(
    "New secret",
    form({
      fields: [
        {
          name: "overlapHours",
          label: "The former one signs too for, hours",
          kind: "number",
          min: 0,
          max: 168,
          value: 24,
          hint: "Time to change your server over. 0: it ends at once.",
        },
      ],
      action: "Make a new secret",
      cancel: () => box.close(),
      submit: async (values) => {
        const made = await post(`${path}/rotate-secret`, values);
        box.close();
        await shownOnce({
          title: "The new secret",
          text: "It is shown this once.",
          values: { Secret: made.secret, ...(made.publicKey && { "Public key": made.publicKey }) },
        });
        await reload();
      },
    }),
  );
}

function replay(path, reload) {
  const hour = new Date(Date.now() - 3_600_000 - new Date().getTimezoneOffset() * 60_000);
  const box = dialog(
    "Send again",
    form({
      fields: [
        {
          name: "what",
          label: "What",
          kind: "select",
          options: [
            ["dead", "Everything that was given up"],
            ["since", "Everything since a time"],
          ],
        },
        {
          name: "since",
          label: "Since",
          kind: "datetime-local",
          value: hour.toISOString().slice(0, 16),
          optional: true,
        },
        { name: "perSecond", label: "Deliveries a second, at most", kind: "number", min: 1, max: 500, value: 50 },
      ],
      action: "Send again",
      cancel: () => box.close(),
      submit: async ({ what, since, perSecond }) => {
        const wanted = what === "dead" ? { dead: true } : { since: since && new Date(since).toISOString() };
        await post(`${path}/replays`, { ...wanted, perSecond });
        box.close();
        await reload();
      },
    }),
  );
}

function replaysOf(replays, path, reload) {
  if (replays.length === 0) return [];
  const rows = replays.slice(0, 10).map((each) => {
    const stop = async () => {
      await remove(`${path}/replays/${encodeURIComponent(each.id)}`);
      await reload();
    };
    return [
      time(each.createdAt),
      [status(plain(each.state), toneOf(each.state)), each.reason && h("small", {}, each.reason)],
      String(each.replayed),
      String(each.skipped),
      ["waiting", "running"].includes(each.state) ? button("Stop", stop, { class: "quiet" }) : "",
    ];
  });
  return [h("h2", {}, "Sent again"), table("Replays", ["Ordered", "State", "Sent", "Under way anyway", ""], rows)];
}

function toldOf(events) {
  if (events.length === 0) return [];
  const rows = events.map((each) => {
    const [sentence, tone] = aboutEndpoint({ event: each.event, data: each });
    return [time(each.at), status(plain(each.event.replace("endpoint.", "")), tone), sentence];
  });
  return [h("h2", {}, "What became of it"), table("What became of it", ["Time", "", "What happened"], rows)];
}

function attemptsOf(page, path) {
  const rows = h("div");
  const older = h("div", { class: "actions start" });
  const outcome = h(
    "select",
    { id: "outcome", "aria-label": "Outcome" },
    OUTCOMES.map(([value, text]) => h("option", { value }, text)),
  );
  let shown = [];
  let hasOlder = false;
  const redraw = (next) => {
    draw(rows, shown.length ? listed(shown, path) : empty("Nothing was sent yet."));
    draw(older, next && button("Older", () => further(next), { "data-next": next }));
  };
  const further = async (cursor) => {
    const found = await get(`${path}/attempts`, { outcome: outcome.value, cursor }, page.signal);
    hasOlder = true;
    shown = [...shown, ...found.attempts];
    redraw(found.next);
  };
  const isBeingRead = () => hasOlder || rows.querySelector("tr.inside");
  const reload = async () => {
    if (isBeingRead()) return;
    const asked = outcome.value;
    try {
      const found = await get(`${path}/attempts`, { outcome: asked }, page.signal);
      if (isBeingRead() || asked !== outcome.value) return; // by now
      shown = found.attempts;
      redraw(found.next);
    } catch (error) {
      if (error.status !== 503) throw error;
      if (!isBeingRead()) rows.replaceChildren(notice("warn", error.message));
    }
  };
  outcome.addEventListener("change", () => {
    hasOlder = false;
    rows.replaceChildren();
    void reload();
  });
  const head = h("div", { class: "head" }, h("h2", {}, "Requests"), outcome);
  return { element: h("section", {}, head, rows, older), reload };
}

function listed(attempts, path) {
  const rows = attempts.map((attempt) => [
    time(attempt.at),
    [attempt.event, marks(attempt) && h("small", {}, marks(attempt))],
    [
      status(plain(attempt.outcome), toneOf(attempt.outcome)),
      attempt.nextAt && h("small", {}, "again at ", time(attempt.nextAt)),
    ],
    answered(attempt),
    String(attempt.attempt),
    duration(attempt.milliseconds),
    opener("Show", () => inside(attempt, path)),
  ]);
  return table("Requests", ["Time", "Event", "Outcome", "Answer", "Attempt", "Took", "Details"], rows);
}

function answered({ httpStatus, error }) {
  return httpStatus ? `HTTP ${httpStatus}` : (error ?? "");
}

function marks({ isReplay, isTest }) {
  return isTest ? "a test" : isReplay ? "sent again" : "";
}

function inside(attempt, path) {
  const again = async () => {
    await post(`${path}/replays`, { eventId: attempt.eventId });
    say("It is sent again, with the same id.");
  };
  const headers = Object.entries(attempt.requestHeaders).map(([name, value]) => `${name}: ${value}`);
  return [
    facts(
      ["Detail", attempt.detail],
      ["Event id", copyable(attempt.eventId)],
      [
        "Message",
        attempt.messageId && h("a", { href: `#/messages/${encodeURIComponent(attempt.messageId)}` }, attempt.messageId),
      ],
      ["URL", attempt.url],
      ["Address", attempt.address],
      ["Headers", headers.length > 0 && h("pre", {}, headers.join("\n"))],
      ["Answer", attempt.response && h("pre", {}, attempt.response)],
    ),
    !attempt.isTest && button("Send this event again", again),
  ];
}
