import axios from 'axios';
const body = {
  recipient: '6281234567890',
  type: 'text',
  message: 'Hello from RK Connect',
};
await axios.post('https://connect.rumahkomunitas.com/api/v1/send', body, {
  headers: {
    'X-API-KEY': apiKey,
    'X-DEVICE-CODE': 'RK-XXXX',
    'X-TIMESTAMP': timestamp,
    'X-SIGNATURE': signature,
  },
});
