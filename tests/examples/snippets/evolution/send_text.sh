curl -sf -X POST "BASE_URL/message/sendText/CS_HQ_NODE1" \
  -H "apikey: CLIENT_ID_SECURE_PHRASE" \
  -H "Content-Type: application/json" \
  -d '{"number":"6281234567890","options":{"delay":200},"textMessage":{"text":"*Hello* from the gateway"}}'
