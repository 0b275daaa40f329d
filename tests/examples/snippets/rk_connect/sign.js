const crypto = require('crypto');
const apiKey = 'your_api_key';
const apiSecret = 'your_api_secret';
const body = JSON.stringify({
  recipient: '6281234567890',
  type: 'text',
  message: 'Hello from RK Connect',
});
const timestamp = Math.floor(Date.now() / 1000).toString();
const payload = apiKey + timestamp + body;
const signature = crypto
  .createHmac('sha256', apiSecret)
  .update(payload)
  .digest('hex');
// Set headers:
// X-API-KEY = apiKey
// X-TIMESTAMP = timestamp
// X-SIGNATURE = signature
