// Follows one namespace with socket.io's own client: node socket_io_client.cjs <url with namespace> <key>
const { io } = require("socket.io-client");

const [, , url, apikey] = process.argv;
const socket = io(url, { auth: { apikey } });
socket.on("connect", () => console.log("connected"));
socket.on("connect_error", (error) => console.log("refused", error.message));
socket.on("messages.upsert", (body) => console.log(JSON.stringify({ name: "messages.upsert", body })));
