import { createHmac, timingSafeEqual } from "node:crypto";

app.post("/wa/webhook", express.json(), (req, res) => {
  const sig = req.headers["x-webhook-signature"];
  const body = JSON.stringify(req.body);
  const expected = createHmac("sha256", WEBHOOK_SECRET).update(body).digest("hex");

  if (!timingSafeEqual(Buffer.from(sig), Buffer.from(expected))) {
    return res.status(401).end();
  }

  const { event, data } = req.body;
  // ... handle event
  res.status(200).end();
});
