curl -sf -X POST "BASE_URL/api/send-media" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"to":"628123456789","url":"FILE_URL/600x400.png","caption":"A placeholder"}'
curl -sf -X POST "BASE_URL/api/send-media" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"to":"628123456789","url":"FILE_URL/report.pdf","caption":"The report","type":"document"}'
