curl -sf "BASE_URL/api/devices/device_legacy/wa-groups" \
  -H "Authorization: Bearer YOUR_API_KEY"
