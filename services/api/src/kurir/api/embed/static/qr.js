// Shows a device's QR code until it is connected, and tells the page around it how that goes.
"use strict";

const { device, origin, token } = document.body.dataset;
const shown = (id) => document.getElementById(id);
const SENTENCES = {
  CONNECTING: "Connecting …",
  QR: "Scan this code.",
  CONNECTED: "Connected. You can close this window.",
  DISCONNECTED: "Not connected.",
  LOGGED_OUT: "Not linked.",
  BANNED: "WhatsApp has banned this number.",
};
const NEEDS_A_CODE = new Set(["DISCONNECTED", "LOGGED_OUT"]);

function tell(message) {
  if (window.parent !== window) window.parent.postMessage({ source: "kurir", deviceId: device, ...message }, origin);
}

async function connect() {
  shown("again").hidden = true;
  const answer = await fetch(`connect?token=${encodeURIComponent(token)}`, { method: "POST" });
  if (!answer.ok) shown("again").hidden = false;
}

function show(status) {
  shown("status").textContent = SENTENCES[status] ?? status;
  const scans = status === "QR";
  shown("code").hidden = shown("help").hidden = !scans;
  shown("again").hidden = !NEEDS_A_CODE.has(status);
}

let hasAsked = false;
const events = new EventSource(`../devices/${encodeURIComponent(device)}/events?token=${encodeURIComponent(token)}`);
events.addEventListener("status", (event) => {
  const { status, phoneNumber, reason } = JSON.parse(event.data);
  show(status);
  tell({ type: "status", status, phoneNumber, reason });
  if (status === "CONNECTED") events.close();
  if (NEEDS_A_CODE.has(status) && !hasAsked) {
    hasAsked = true; // once by itself; after that the person asks
    connect();
  }
});
events.addEventListener("qr", (event) => {
  shown("code").src = JSON.parse(event.data).dataUrl;
  show("QR");
});
shown("again").addEventListener("click", connect);
