curl -sf -X POST "BASE_URL/messages/send-text" \
  -H "X-API-Key: <your-64-char-hex-key>" \
  -H "Content-Type: application/json" \
  -d '{"deviceId":"<id>","to":"6281234567890","text":"Halo!"}'
