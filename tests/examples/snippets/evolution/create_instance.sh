curl -sf -X POST "BASE_URL/instance/create" \
  -H "apikey: YOUR_GLOBAL_TENANT_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"instanceName":"CS_HQ_NODE1","token":"CLIENT_ID_SECURE_PHRASE","qrcode":true}'
