curl -sf -X POST "BASE_URL/webhook/set/CS_HQ_NODE1" \
  -H "apikey: CLIENT_ID_SECURE_PHRASE" \
  -H "Content-Type: application/json" \
  -d '{"enabled":true,"url":"WEBHOOK_URL","webhook_by_events":false,"webhook_base64":false,"events":["CONNECTION_UPDATE","MESSAGES_UPSERT","SEND_MESSAGE_STATUS"]}'
