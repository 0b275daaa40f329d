curl -sf -X POST "BASE_URL/api/send-message" \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"to":"628123456789","message":"Halo from the dashboard"}'
