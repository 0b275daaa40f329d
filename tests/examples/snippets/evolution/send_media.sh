curl -sf -X POST "BASE_URL/message/sendMedia/CS_HQ_NODE1" \
  -H "apikey: CLIENT_ID_SECURE_PHRASE" \
  -H "Content-Type: application/json" \
  -d '{"number":"6281234567890","mediaMessage":{"mediatype":"document","fileName":"report.pdf","caption":"The report","media":"FILE_URL/report.pdf"}}'
