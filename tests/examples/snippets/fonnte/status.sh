curl -sf "BASE_URL/api/status" \
  -H "Authorization: Bearer YOUR_API_KEY"
