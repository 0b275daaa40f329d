curl -sf -X POST "BASE_URL/send" \
  -H "Authorization: YOUR_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"target":"628123456789","message":"Halo from JSON"}'
curl -sf -X POST "BASE_URL/send" \
  -H "Authorization: YOUR_API_KEY" \
  -H "Content-Type: application/x-www-form-urlencoded" \
  -d "to=628123456789" \
  --data-urlencode "message=Halo from a form"
