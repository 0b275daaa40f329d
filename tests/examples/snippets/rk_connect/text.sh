curl -X POST https://connect.rumahkomunitas.com/api/v1/send \
  -H "X-API-KEY: your_api_key" \
  -H "X-DEVICE-CODE: RK-XXXX" \
  -H "X-TIMESTAMP: 1709308800" \
  -H "X-SIGNATURE: <calculated_hmac_here>" \
  -H "Content-Type: application/json" \
  -d '{
"recipient": "6281234567890",
"type": "text",
"message": "Hello from RK Connect"
}'
