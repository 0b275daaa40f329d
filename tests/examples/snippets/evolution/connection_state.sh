curl -sf "BASE_URL/instance/connectionState/CS_HQ_NODE1" \
  -H "apikey: YOUR_GLOBAL_TENANT_API_KEY"
