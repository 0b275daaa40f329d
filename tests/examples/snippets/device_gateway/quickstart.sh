curl -sf "BASE_URL/auth/me" \
  -H "X-API-Key: <your-64-char-hex-key>"
curl -sf -X POST "BASE_URL/devices" \
  -H "X-API-Key: <your-64-char-hex-key>" \
  -H "Content-Type: application/json" \
  -d '{"name":"CS"}' > device.json
id=$(sed 's/.*"id":"\([^"]*\)".*/\1/' device.json)
curl -sf -X POST "BASE_URL/devices/$id/connect" \
  -H "X-API-Key: <your-64-char-hex-key>"
curl -sN --max-time 5 "BASE_URL/devices/$id/events" \
  -H "X-API-Key: <your-64-char-hex-key>" > events.txt || true
