// A receiver that believes what both published libraries verify.
const { createServer } = require("node:http");
const { Webhook: StandardWebhook } = require("standardwebhooks");
const { Webhook: SvixWebhook } = require("svix");

const verifiers = [new StandardWebhook(process.env.WEBHOOK_SECRET), new SvixWebhook(process.env.WEBHOOK_SECRET)];

createServer(async (req, res) => {
  const parts = [];
  for await (const part of req) parts.push(part);
  const body = Buffer.concat(parts);
  try {
    for (const verifier of verifiers) verifier.verify(body, req.headers);
    console.log("handled", req.headers["webhook-id"]);
    res.writeHead(204).end();
  } catch (error) {
    console.log("refused:", error.message);
    res.writeHead(401).end();
  }
}).listen(Number(process.env.PORT), "127.0.0.1");
